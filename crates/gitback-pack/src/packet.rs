//! git's pkt-line framing.
//!
//! Shape: four hexadecimal digits that give the length of the packet, themselves
//! included, then the payload; `0000`, `0001` and `0002` are marks without payload.
//!
//! Source: gitprotocol-common(5), "pkt-line format".

use std::io::{self, ErrorKind, Read, Write};

/// Most payload bytes of one packet.
pub(crate) const PAYLOAD_MAX: usize = 65_516;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The payload is in the buffer.
    Data,
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Reads one packet into `buffer`; `None` when the stream ends before it begins.
pub(crate) fn read(reader: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Packet>> {
    buffer.clear();
    let mut head = [0; 4];
    if !fill(reader, &mut head)? {
        return Ok(None);
    }
    let text = std::str::from_utf8(&head)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    let length = text.and_then(|text| usize::from_str_radix(text, 16).ok());
    match length {
        Some(0) => Ok(Some(Packet::Flush)),
        Some(1) => Ok(Some(Packet::Delimiter)),
        Some(2) => Ok(Some(Packet::ResponseEnd)),
        Some(length @ 4..) if length - 4 <= PAYLOAD_MAX => {
            buffer.resize(length - 4, 0);
            reader.read_exact(buffer)?;
            Ok(Some(Packet::Data))
        }
        _ => Err(io::Error::new(
            ErrorKind::InvalidData,
            "a packet has a bad length",
        )),
    }
}

/// Fills `bytes`, or answers false when the stream has ended before the first one.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    let (first, rest) = bytes.split_at_mut(1);
    loop {
        match reader.read(first) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    reader.read_exact(rest)?;
    Ok(true)
}

/// Writes one packet. The payload must not be longer than [`PAYLOAD_MAX`].
pub(crate) fn write(writer: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    write_banded(writer, None, payload)
}

/// Writes one packet whose payload begins with the number of a side-band.
pub(crate) fn write_banded(
    writer: &mut impl Write,
    band: Option<u8>,
    payload: &[u8],
) -> io::Result<()> {
    let length = payload.len() + usize::from(band.is_some());
    assert!(length <= PAYLOAD_MAX, "callers split what they send");
    let mut packet = Vec::with_capacity(length + 4);
    packet.extend_from_slice(format!("{:04x}", length + 4).as_bytes());
    packet.extend(band);
    packet.extend_from_slice(payload);
    writer.write_all(&packet)
}

pub(crate) fn write_flush(writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(b"0000")
}

/// A packet's payload as one line, without the line feed that may end it.
pub(crate) fn line(payload: &[u8]) -> &[u8] {
    payload.strip_suffix(b"\n").unwrap_or(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"hello\n").expect("a vector takes it");
        write_flush(&mut bytes).expect("a vector takes it");
        let (mut rest, mut buffer) = (&bytes[..], Vec::new());
        assert_eq!(
            read(&mut rest, &mut buffer).expect("a packet"),
            Some(Packet::Data)
        );
        assert_eq!(line(&buffer), b"hello");
        assert_eq!(
            read(&mut rest, &mut buffer).expect("a flush"),
            Some(Packet::Flush)
        );
        assert_eq!(read(&mut rest, &mut buffer).expect("the end"), None);
    }

    #[test]
    fn rejects_bad_lengths_and_cut_packets() {
        for bytes in [
            &b"0003"[..],
            b"fff1aaaa",
            b"zzzz",
            b"+00a",
            b"00",
            b"000ahel",
        ] {
            assert!(read(&mut &bytes[..], &mut Vec::new()).is_err(), "{bytes:?}");
        }
    }
}
