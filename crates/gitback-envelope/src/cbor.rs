//! The deterministic subset of CBOR that envelopes use, and whatever else is signed or spread.
//!
//! Unsigned numbers, byte strings, text, arrays, and maps whose keys are strictly ascending unsigned numbers; every
//! number and length in its shortest form. A value has exactly one encoding, so whatever the reader accepts encodes
//! back to the same bytes.
//!
//! Source: RFC 8949 §4.2.1; docs/spec/envelope.md §3.

use alloc::vec::Vec;

use crate::reject::Malformed;

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// How deeply items of an unknown kind may be nested.
pub(crate) const DEPTH_MAX: usize = 16;

/// Writes items one after another. Counts and key order are the caller's promise.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Writes a number.
    pub fn uint(&mut self, number: u64) {
        self.item(UINT, number);
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.item(BYTES, length(bytes.len()));
        self.0.extend_from_slice(bytes);
    }

    /// Writes a text.
    pub fn text(&mut self, text: &str) {
        self.item(TEXT, length(text.len()));
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes the head of an array: that many items follow.
    pub fn array(&mut self, items: usize) {
        self.item(ARRAY, length(items));
    }

    /// Writes the head of a map: that many pairs follow, their keys ascending.
    pub fn map(&mut self, pairs: usize) {
        self.item(MAP, length(pairs));
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn item(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        if let Ok(small) = u8::try_from(argument) {
            if small < 24 {
                self.0.push(major | small);
            } else {
                self.0.extend_from_slice(&[major | 24, small]);
            }
        } else if let Ok(two) = u16::try_from(argument) {
            self.0.push(major | 25);
            self.0.extend_from_slice(&two.to_be_bytes());
        } else if let Ok(four) = u32::try_from(argument) {
            self.0.push(major | 26);
            self.0.extend_from_slice(&four.to_be_bytes());
        } else {
            self.0.push(major | 27);
            self.0.extend_from_slice(&argument.to_be_bytes());
        }
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).expect("a length fits into 64 bits")
}

/// Reads items one after another, borrowing from the input and allocating nothing.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads a number.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not there in its one form.
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        self.expect(UINT)
    }

    /// Reads a byte string.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not there in its one form.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.expect(BYTES)?;
        self.take(length)
    }

    /// Reads a text.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not there in its one form.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.expect(TEXT)?;
        let bytes = self.take(length)?;
        str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8)
    }

    /// The number of items that follow. Not yet checked against anything.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not there in its one form.
    pub fn array(&mut self) -> Result<u64, Malformed> {
        self.expect(ARRAY)
    }

    /// The number of pairs that follow. Not yet checked against anything.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not there in its one form.
    pub fn map(&mut self) -> Result<u64, Malformed> {
        self.expect(MAP)
    }

    /// Steps over one item of any shape, checking its form.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        self.skip_within(DEPTH_MAX)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// [`Malformed::Trailing`] if something is.
    pub const fn finish(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }

    fn skip_within(&mut self, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
        let (major, argument) = self.head()?;
        match major {
            UINT => Ok(()),
            BYTES => self.take(argument).map(drop),
            TEXT => {
                let bytes = self.take(argument)?;
                str::from_utf8(bytes)
                    .map(drop)
                    .map_err(|_| Malformed::NotUtf8)
            }
            ARRAY => (0..argument).try_for_each(|_| self.skip_within(depth)),
            MAP => {
                let mut keys = Keys::default();
                (0..argument).try_for_each(|_| {
                    keys.next(self)?;
                    self.skip_within(depth)
                })
            }
            _ => Err(Malformed::Unsupported),
        }
    }

    fn expect(&mut self, expected: u8) -> Result<u64, Malformed> {
        let (major, argument) = self.head()?;
        if major == expected {
            Ok(argument)
        } else {
            Err(Malformed::WrongType)
        }
    }

    fn head(&mut self) -> Result<(u8, u64), Malformed> {
        let [first] = self.take_exact()?;
        let major = first >> 5;
        if !matches!(major, UINT | BYTES | TEXT | ARRAY | MAP) {
            return Err(Malformed::Unsupported);
        }
        let (argument, least) = match first & 0x1f {
            small @ 0..24 => (u64::from(small), 0),
            24 => (u64::from(u8::from_be_bytes(self.take_exact()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.take_exact()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.take_exact()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.take_exact()?), 1 << 32),
            _ => return Err(Malformed::Unsupported),
        };
        if argument < least {
            return Err(Malformed::NotShortest);
        }
        Ok((major, argument))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_exact<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// The keys of one map, which must come in strictly ascending order.
#[derive(Debug, Default)]
pub struct Keys(Option<u64>);

impl Keys {
    /// Reads the next key.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is no number, or not above the one before.
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<u64, Malformed> {
        let key = reader.uint()?;
        if self.0.is_some_and(|last| last >= key) {
            return Err(Malformed::KeyOrder);
        }
        self.0 = Some(key);
        Ok(key)
    }
}
