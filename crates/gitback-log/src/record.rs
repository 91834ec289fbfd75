//! One record's bytes.

/// The longest payload of one record, in bytes. An envelope is at most 1 MiB.
pub const RECORD_MAX: usize = 2 << 20;

/// Bytes before the payload: magic, length, checksum, id.
pub(crate) const RECORD_HEAD: usize = 56;
pub(crate) const MAGIC: &[u8; 4] = b"GBR1";

/// One record found in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) id: [u8; 32],
    pub(crate) payload: &'a [u8],
}

impl Record<'_> {
    /// The length of the whole record in the file.
    pub(crate) fn bytes(&self) -> usize {
        RECORD_HEAD + self.payload.len()
    }
}

/// Appends one record to `out`.
///
/// Shape: `"GBR1" | payload_len u32 LE | BLAKE3(id | payload)[..16] | id [32] |
/// payload`.
///
/// Source: docs/spec/log.md.
pub(crate) fn encode(out: &mut Vec<u8>, id: &[u8; 32], payload: &[u8]) {
    debug_assert!(payload.len() <= RECORD_MAX, "callers check the length");
    let length = u32::try_from(payload.len()).expect("a payload is at most RECORD_MAX long");
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(id, payload));
    out.extend_from_slice(id);
    out.extend_from_slice(payload);
}

/// The payload length a record at the start of `bytes` declares, if its magic
/// is right and the length is allowed. Nothing else is checked.
pub(crate) fn declared_length(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let length = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= RECORD_MAX)
}

/// The record at the start of `bytes`, if there is a whole and undamaged one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let length = declared_length(bytes)?;
    let sum = bytes.get(8..24)?;
    let id = *bytes.get(24..RECORD_HEAD)?.first_chunk::<32>()?;
    let payload = bytes.get(RECORD_HEAD..)?.get(..length)?;
    (checksum(&id, payload) == sum).then_some(Record { id, payload })
}

fn checksum(id: &[u8; 32], payload: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id);
    hasher.update(payload);
    *hasher
        .finalize()
        .as_bytes()
        .first_chunk()
        .expect("a BLAKE3 hash has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_inverts_encode() {
        for payload in [&b""[..], b"x", &[0x5a; 70_000]] {
            let mut bytes = Vec::new();
            encode(&mut bytes, &[3; 32], payload);
            bytes.extend_from_slice(b"what follows");
            let record = decode(&bytes).expect("the record is whole");
            assert_eq!((record.id, record.payload), ([3; 32], payload));
            assert_eq!(record.bytes(), bytes.len() - "what follows".len());
        }
    }

    #[test]
    fn refuses_length_over_the_limit() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&[0; 4096]);
        assert!(decode(&bytes).is_none());
    }

    #[test]
    fn keeps_the_written_format() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[0; 32], b"gitback");
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let head = "4742523107000000";
        let sum = "8ef6af66510e8287157c6bc2671b3cb4";
        let payload = "6769746261636b";
        assert_eq!(hex, format!("{head}{sum}{}{payload}", "00".repeat(32)));
    }
}
