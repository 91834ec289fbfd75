//! Deltas: how one object is made of another.
//!
//! Source: gitformat-pack(5), "Deltified representation".

/// Shortest delta that git applies, in bytes, although fewer can make an empty object.
const DELTA_MIN: usize = 4;

/// Applies a delta to its base. `None` when it does not fit its base or itself, or when `room` says that there is no
/// room for so many bytes.
pub(crate) fn apply(
    base: &[u8],
    delta: &[u8],
    room: impl FnOnce(u64) -> Option<()>,
) -> Option<Vec<u8>> {
    if delta.len() < DELTA_MIN {
        return None;
    }
    let mut delta = Rest(delta);
    if delta.size()? != base.len() {
        return None;
    }
    let length = delta.size()?;
    room(u64::try_from(length).ok()?)?;
    let mut target = Vec::with_capacity(length);
    while let Some(command) = delta.byte() {
        let piece = match command {
            0 => return None,
            1..=0x7f => delta.take(usize::from(command))?,
            0x80.. => {
                let from = delta.field(command, 0..4)?;
                let count = match delta.field(command, 4..7)? {
                    0 => 0x1_0000,
                    count => count,
                };
                base.get(from..from.checked_add(count)?)?
            }
        };
        if piece.len() > length - target.len() {
            return None;
        }
        target.extend_from_slice(piece);
    }
    (target.len() == length).then_some(target)
}

/// What is left of a delta.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A size: seven bits a byte, the least ones first.
    fn size(&mut self) -> Option<usize> {
        let mut size = 0_usize;
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            size |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(size);
            }
        }
        None
    }

    /// A number of which those bytes are here whose bits are set in `command`.
    fn field(&mut self, command: u8, bits: std::ops::Range<u32>) -> Option<usize> {
        let mut value = 0;
        for (place, bit) in bits.enumerate() {
            if command & (1 << bit) != 0 {
                value |= usize::from(self.byte()?) << (8 * place);
            }
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_what_git_makes_and_nothing_else() {
        let make = |delta: &[u8]| apply(b"hello base", delta, |_| Some(()));
        assert_eq!(make(&[10, 3, 3, b'a', b'b', b'c']), Some(b"abc".to_vec()));
        assert_eq!(make(&[10, 4, 0x91, 6, 4]), Some(b"base".to_vec()));
        // What makes nothing is too short for git.
        assert_eq!(make(&[10, 0]), None);
        assert_eq!(make(&[0x8a, 0, 0]), None);
        assert_eq!(make(&[9, 3, 3, b'a', b'b', b'c']), None);
        assert_eq!(make(&[10, 2, 3, b'a', b'b', b'c']), None);
        assert_eq!(make(&[10, 4, 3, b'a', b'b', b'c']), None);
        assert_eq!(make(&[10, 4, 0x91, 7, 4]), None);
        assert_eq!(make(&[10, 3, 3, b'a', b'b']), None);
        assert_eq!(make(&[10, 3, 0, 3, b'a', b'b', b'c']), None);
        let no_room = apply(b"hello base", &[10, 4, 0x91, 6, 4], |size| {
            (size < 4).then_some(())
        });
        assert_eq!(no_room, None);
    }
}
