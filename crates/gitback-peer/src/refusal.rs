//! The answer "no", with its reason, as a value and as JSON.

use serde::{Deserialize, Serialize};

use crate::limits::{CODE_MAX, REASON_MAX};

/// A request that the other envoy understood and will not carry out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Which family of refusal, the HTTP status on the wire.
    pub status: RefusalKind,
    /// A stable kebab-case code for programs.
    pub code: String,
    /// One line for people.
    pub reason: String,
}

/// The families of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// 401: the key is not known here.
    Unauthorised,
    /// 403: the key is known and may not do this.
    Forbidden,
    /// 404: no such project or route.
    NotFound,
    /// 503 (429 is read as the same): too much at once; try again later.
    Busy,
    /// 507: there is no room for it: the disk is too full, or a pack costs more than is allowed here.
    Disk,
    /// 400: the request breaks the protocol.
    Bad,
    /// 500: a fault of the answering envoy.
    Internal,
}

#[derive(Serialize, Deserialize)]
struct RefusalBody {
    code: String,
    message: String,
}

impl Refusal {
    /// Makes a refusal; `reason` is shortened to [`REASON_MAX`] bytes and one line.
    #[must_use]
    pub fn new(status: RefusalKind, code: &str, reason: impl AsRef<str>) -> Self {
        Self {
            status,
            code: clean_code(code),
            reason: clean_reason(reason.as_ref()),
        }
    }

    /// Encodes the JSON body `{"code","message"}`.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let body = RefusalBody {
            code: self.code.clone(),
            message: self.reason.clone(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// Decodes what [`Self::to_json`] made, cleaning text that goes to a terminal later.
    pub(crate) fn from_json(status: RefusalKind, json: &[u8]) -> Option<Self> {
        let body: RefusalBody = serde_json::from_slice(json).ok()?;
        Some(Self::new(status, &body.code, body.message))
    }

    /// The same JSON in printable ASCII, for a trailer field.
    pub(crate) fn to_ascii_json(&self) -> String {
        let json = self.to_json();
        let mut ascii = String::with_capacity(json.len());
        for character in String::from_utf8_lossy(&json).chars() {
            if character.is_ascii() {
                ascii.push(character);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
        ascii
    }

    pub(crate) fn internal(reason: &str) -> Self {
        Self::new(RefusalKind::Internal, "internal", reason)
    }

    pub(crate) fn busy(code: &str, reason: &str) -> Self {
        Self::new(RefusalKind::Busy, code, reason)
    }
}

impl RefusalKind {
    /// Returns the HTTP status code.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::Unauthorised => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Busy => 503,
            Self::Disk => 507,
            Self::Bad => 400,
            Self::Internal => 500,
        }
    }

    /// Reads an HTTP status code; `None` for one that is no refusal of this protocol.
    #[must_use]
    pub fn from_http_status(status: u16) -> Option<Self> {
        Some(match status {
            401 => Self::Unauthorised,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            429 | 503 => Self::Busy,
            507 => Self::Disk,
            400 | 413 => Self::Bad,
            500 => Self::Internal,
            _ => return None,
        })
    }
}

fn clean_code(code: &str) -> String {
    let clean: String = code
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
        .take(CODE_MAX)
        .collect();
    if clean.is_empty() {
        "unknown".to_owned()
    } else {
        clean
    }
}

/// Replaces control characters, which could steer a terminal, and shortens.
fn clean_reason(reason: &str) -> String {
    let mut clean = String::new();
    for character in reason.trim_end().chars() {
        if clean.len() + character.len_utf8() > REASON_MAX {
            break;
        }
        clean.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trips() {
        let refusal = Refusal::new(RefusalKind::Disk, "disk-full", "9 % free on “mars”");
        let json = refusal.to_json();
        assert_eq!(Refusal::from_json(RefusalKind::Disk, &json), Some(refusal));
    }

    #[test]
    fn trailer_form_is_ascii_and_the_same_json() {
        let refusal = Refusal::new(RefusalKind::Bad, "x", "naïve \u{1f980}");
        let ascii = refusal.to_ascii_json();
        assert!(ascii.bytes().all(|b| (0x20..0x7f).contains(&b)), "{ascii}");
        assert_eq!(
            Refusal::from_json(RefusalKind::Bad, ascii.as_bytes()),
            Some(refusal)
        );
    }

    #[test]
    fn cleans_what_a_peer_says() {
        let refusal = Refusal::new(RefusalKind::Bad, "Bad Code\u{1b}", "a\u{1b}[31m\nb\n");
        assert_eq!(refusal.code, "adode");
        assert_eq!(refusal.reason, "a [31m b");
        let long = Refusal::new(RefusalKind::Bad, "", "é".repeat(REASON_MAX));
        assert_eq!(long.code, "unknown");
        assert_eq!(long.reason.len(), REASON_MAX);
    }

    #[test]
    fn status_round_trips() {
        use RefusalKind::{Bad, Busy, Disk, Forbidden, Internal, NotFound, Unauthorised};
        for kind in [Unauthorised, Forbidden, NotFound, Busy, Disk, Bad, Internal] {
            assert_eq!(
                RefusalKind::from_http_status(kind.http_status()),
                Some(kind)
            );
        }
        assert_eq!(RefusalKind::from_http_status(302), None);
    }
}
