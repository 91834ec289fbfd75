//! Messages on the channel: what kind, how long, and the bytes.

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::message::FLEET_MAX;

/// `kind u8 | length u32 BE`.
const HEADER_BYTES: usize = 5;

/// The kinds of messages, in the order in which they come.
///
/// Source: docs/spec/pairing.md §3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hello,
    Proven,
    Puddle,
    Installed,
    Fleet,
    Refused,
}

/// Why a conversation ended before its time.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The other side is gone.
    #[error("the other machine ended the connection")]
    Cut,
    /// The other side was too slow.
    #[error("the other machine did not answer in time")]
    Late,
    /// The other side sent more than it may.
    #[error("the other machine sent more than it may")]
    TooMuch,
    /// What came is not what comes at this point.
    #[error("the other machine sent what does not belong there")]
    Unexpected,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

/// One message.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Hello,
        Self::Proven,
        Self::Puddle,
        Self::Installed,
        Self::Fleet,
        Self::Refused,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Proven => 2,
            Self::Puddle => 3,
            Self::Installed => 4,
            Self::Fleet => 5,
            Self::Refused => 6,
        }
    }

    /// The longest payload, in bytes.
    pub(crate) const fn payload_max(self) -> usize {
        match self {
            Self::Hello | Self::Proven => 1024,
            Self::Puddle => 1 << 20,
            // The fleet part in hex, in JSON.
            Self::Installed | Self::Fleet => 2 * FLEET_MAX + 1024,
            Self::Refused => 1,
        }
    }
}

/// Reads one message, of kind `wanted` or [`Kind::Refused`]. Its length is checked before memory is taken for it.
pub(crate) fn read(from: &mut impl Read, wanted: Kind) -> Result<Frame, WireError> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header).map_err(WireError::from)?;
    let [code, length @ ..] = header;
    let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code);
    let kind = kind.filter(|kind| [wanted, Kind::Refused].contains(kind));
    let kind = kind.ok_or(WireError::Unexpected)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > kind.payload_max() {
        return Err(WireError::TooMuch);
    }
    let mut payload = vec![0; length];
    from.read_exact(&mut payload).map_err(WireError::from)?;
    Ok(Frame { kind, payload })
}

/// Writes one message, and sees to it that it leaves.
pub(crate) fn write(to: &mut impl Write, kind: Kind, payload: &[u8]) -> Result<(), WireError> {
    let length = u32::try_from(payload.len()).ok();
    let length = length.filter(|_| payload.len() <= kind.payload_max());
    let length = length.ok_or(WireError::TooMuch)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.push(kind.code());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    to.write_all(&bytes).and_then(|()| to.flush())?;
    Ok(())
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Why;
        match error.kind() {
            Why::TimedOut => Self::Late,
            Why::FileTooLarge => Self::TooMuch,
            Why::UnexpectedEof
            | Why::ConnectionReset
            | Why::ConnectionAborted
            | Why::BrokenPipe
            | Why::NotConnected => Self::Cut,
            _ => Self::Io(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for kind in Kind::ALL {
            let mut bytes = Vec::new();
            write(&mut bytes, kind, &[7]).expect("written");
            let frame = read(&mut bytes.as_slice(), kind).expect("read");
            assert_eq!((frame.kind, frame.payload.as_slice()), (kind, &[7][..]));
        }
    }

    #[test]
    fn refuses_what_is_too_long_short_or_out_of_turn() {
        let check = |bytes: &[u8], wanted| read(&mut &*bytes, wanted).expect_err("refused");
        let reject = check(&[1, 0, 0, 4, 1], Kind::Hello);
        assert!(matches!(reject, WireError::TooMuch), "{reject:?}");
        let reject = check(&[3, 0xff, 0xff, 0xff, 0xff], Kind::Puddle);
        assert!(matches!(reject, WireError::TooMuch), "{reject:?}");
        for bytes in [&[][..], &[1, 0, 0], &[1, 0, 0, 0, 2, 9]] {
            let reject = check(bytes, Kind::Hello);
            assert!(matches!(reject, WireError::Cut), "{reject:?}");
        }
        for first in [0, 2, 3, 7, 22, 255] {
            let reject = check(&[first, 0, 0, 0, 0], Kind::Hello);
            assert!(matches!(reject, WireError::Unexpected), "{reject:?}");
        }
        let long = write(&mut Vec::new(), Kind::Refused, &[1, 2]).expect_err("too long");
        assert!(matches!(long, WireError::TooMuch), "{long:?}");
    }
}
