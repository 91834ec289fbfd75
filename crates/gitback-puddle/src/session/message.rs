//! Messages and their frames.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::FRAME_MAX;

/// What a client asks. Bytes are lowercase hex.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Sign { type_name: String, body: String },
    Accept { type_name: String, body: String },
    ClaimName { body: String },
    Status,
    Lock,
}

/// What the session answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(crate) enum Reply {
    Signed {
        signature: String,
    },
    Status {
        name: String,
        key: String,
        until_ms: u64,
        #[serde(default)]
        idle_ms: Option<u64>,
        #[serde(default)]
        memory_locked: bool,
    },
    Locked,
    Refused {
        code: String,
        reason: String,
    },
}

/// Writes one message.
///
/// Shape: `length u32 BE | JSON`.
///
/// Source: docs/spec/puddle.md.
pub(crate) fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(message).map_err(io::Error::from)?;
    if json.len() > FRAME_MAX {
        return Err(too_long());
    }
    let length = u32::try_from(json.len()).map_err(|_| too_long())?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&json);
    to.write_all(&frame)
}

/// Reads one message; `None` if the other side closed before it.
pub(crate) fn read<M: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let length = u64::from(u32::from_be_bytes(length));
    if length > FRAME_MAX as u64 {
        return Err(too_long());
    }
    // Memory is taken as bytes arrive, not as they are announced.
    let mut json = Vec::new();
    from.take(length).read_to_end(&mut json)?;
    if (json.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message = serde_json::from_slice(&json)?;
    Ok(Some(message))
}

fn too_long() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message is at most {FRAME_MAX} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_inverts_write() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Request::Lock).expect("written");
        assert_eq!(bytes, b"\0\0\0\x0d{\"do\":\"lock\"}");
        let mut from = bytes.as_slice();
        assert!(matches!(read(&mut from), Ok(Some(Request::Lock))));
        assert!(matches!(read::<Request>(&mut from), Ok(None)));
    }

    #[test]
    fn refuses_what_is_too_long_cut_or_unknown() {
        let frame = |length: u32, json: &[u8]| [&length.to_be_bytes(), json].concat();
        let kind = |bytes: Vec<u8>| {
            let error = read::<Request>(&mut bytes.as_slice()).expect_err("refused");
            error.kind()
        };
        assert_eq!(kind(frame(u32::MAX, b"")), io::ErrorKind::InvalidData);
        assert_eq!(kind(frame(14, b"{\"do\":")), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(b"\0\0".to_vec()), io::ErrorKind::UnexpectedEof);
        for json in ["{\"do\":\"seed\"}", "{\"do\":\"sign\"}", "[]", "\u{7f}"] {
            let length = u32::try_from(json.len()).expect("short");
            let kind = kind(frame(length, json.as_bytes()));
            assert_eq!(kind, io::ErrorKind::InvalidData, "{json}");
        }
    }
}
