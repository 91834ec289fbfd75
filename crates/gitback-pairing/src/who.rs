//! What two machines call each other.

use std::fmt;

use gitback_identity::{PublicKey, PuddleKey, PuddleName};
use gitback_puddle::Public;
use serde::{Deserialize, Serialize};

/// The longest name of a machine or system, in characters.
pub const NAME_MAX: usize = 32;

/// What a guest says of itself, to be shown to the person who allows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    name: String,
    system: String,
}

/// What a host says of itself, and whose puddle it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIntroduction {
    name: String,
    puddle: PuddleName,
    key: PuddleKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestForm {
    name: String,
    system: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostForm {
    name: String,
    puddle: String,
    key: String,
}

impl Introduction {
    /// Takes the machine's name and system, as far as they may be shown.
    #[must_use]
    pub fn new(name: &str, system: &str) -> Self {
        Self {
            name: shown(name),
            system: shown(system),
        }
    }

    /// The machine's name: letters, digits, dots, hyphens and underscores of ASCII.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's system, in the same characters.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&GuestForm {
            name: self.name.clone(),
            system: self.system.clone(),
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let form: GuestForm = serde_json::from_slice(bytes).ok()?;
        Some(Self::new(&form.name, &form.system))
    }
}

impl HostIntroduction {
    /// Takes the machine's name, as far as it may be shown, and whose puddle it has.
    #[must_use]
    pub fn new(name: &str, public: &Public) -> Self {
        Self {
            name: shown(name),
            puddle: public.name.clone(),
            key: public.key,
        }
    }

    /// The machine's name: letters, digits, dots, hyphens and underscores of ASCII.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The puddle's name.
    #[must_use]
    pub fn puddle(&self) -> &PuddleName {
        &self.puddle
    }

    /// The puddle's current key.
    #[must_use]
    pub fn key(&self) -> &PuddleKey {
        &self.key
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&HostForm {
            name: self.name.clone(),
            puddle: self.puddle.to_string(),
            key: self.key.to_string(),
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let form: HostForm = serde_json::from_slice(bytes).ok()?;
        let key: PublicKey = form.key.parse().ok()?;
        Some(Self {
            name: shown(&form.name),
            puddle: form.puddle.parse().ok()?,
            key: PuddleKey::new(key),
        })
    }
}

impl fmt::Display for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.system)
    }
}

fn encode(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("strings always have a JSON form")
}

/// A text from elsewhere as it may stand in a question: no blank, no bracket and no control character, so that it cannot pass for
/// more than one word of the question.
fn shown(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let text = text.chars().take(NAME_MAX);
    let text: String = text.map(|c| if allowed(c) { c } else { '?' }).collect();
    match text.as_str() {
        "" => "?".to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_whatever_it_was() {
        let check = |text: &str, expected: &str| {
            let sent = GuestForm {
                name: text.to_owned(),
                system: text.to_owned(),
            };
            let read = Introduction::decode(&encode(&sent)).expect("an introduction");
            assert_eq!((read.name(), read.system()), (expected, expected));
            assert_eq!(Introduction::new(text, text), read);
        };
        check("venus", "venus");
        check("", "?");
        check(
            "venus (linux, 10.0.0.1) asks",
            "venus??linux??10.0.0.1??asks",
        );
        check("\u{1b}[2J\r\nvenus", "??2J??venus");
        check("ven\u{202e}us", "ven?us");
        check(&"v".repeat(100), &"v".repeat(NAME_MAX));
    }

    #[test]
    fn what_is_no_introduction_is_refused() {
        for bytes in [
            &b""[..],
            b"{}",
            b"{\"name\":\"venus\"}",
            b"{\"name\":\"venus\",\"system\":1}",
            b"{\"name\":\"venus\",\"system\":\"linux\",\"more\":1}",
            b"{\"name\":\"venus\",\"system\":\"linux\"} ?",
        ] {
            assert_eq!(Introduction::decode(bytes), None, "{bytes:?}");
            assert_eq!(HostIntroduction::decode(bytes), None, "{bytes:?}");
        }
    }
}
