//! What a holder says of the packs that it gives, in a form that it signs.
//!
//! The signed part names the packs and the roots of their hashes. What follows it needs no signature: it leads to the
//! roots or is refused.
//!
//! Source: docs/spec/pack.md §11.

use crate::Oid;
use crate::blocks::{BlockTree, blocks_of};

/// Most packs in one manifest.
pub const PACKS_MAX: usize = 64;
/// Most blocks of all packs of one manifest: 16 GiB.
pub const BLOCKS_MAX: u64 = 16_384;
/// Longest manifest in bytes, with its signature and the values of all blocks.
pub const MANIFEST_MAX: usize =
    4 + HEAD_BYTES + PACKS_MAX * PACK_BYTES + SIGNATURE_BYTES + 16_384 * 32;
/// The type under which a holder signs.
pub const MANIFEST_TYPE: &str = "application/vnd.gitback.packs.v1";

const VERSION: u8 = 1;
const SIGNATURE_BYTES: usize = 64;
/// Version, project, envoy, time, number of packs.
const HEAD_BYTES: usize = 1 + 32 + 32 + 8 + 1;
/// Name, length, number of objects, root.
const PACK_BYTES: usize = 20 + 8 + 4 + 32;
/// A header and a checksum.
const SMALLEST: u64 = 32;

/// One pack that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The checksum at its end, after which its file is named.
    pub name: Oid,
    /// How many objects it has, as its holder says.
    pub objects: u32,
    /// Its length, its hash, and what tells of each block whether it is right.
    pub tree: BlockTree,
}

/// The packs of one project that an envoy gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The project's id.
    pub project: [u8; 32],
    /// The public key of the envoy that gives them.
    pub envoy: [u8; 32],
    /// When it was made by that envoy's clock, in milliseconds since 1970. Nothing follows from it.
    pub made_ms: u64,
    /// The packs, in the order in which their holder got them.
    pub packs: Vec<Offer>,
}

/// A manifest as it came; the signature is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// What it says.
    pub manifest: Manifest,
    /// The exact bytes that were signed, under [`MANIFEST_TYPE`].
    pub body: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadManifest {
    /// It is longer than any manifest.
    #[error("a manifest of {bytes} bytes")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// It has another form, ends early or goes on behind its end.
    #[error("a manifest that is malformed")]
    Malformed,
    /// It is of a later version.
    #[error("a manifest of version {version}")]
    Version {
        /// Which one.
        version: u8,
    },
    /// It lists more than it may.
    #[error("a manifest of too many {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
    },
    /// No pack is as short, or two have the same name.
    #[error("a manifest with pack {name} that cannot be")]
    Impossible {
        /// Which pack.
        name: Oid,
    },
    /// The values of its blocks do not lead to the root that was signed.
    #[error("a manifest whose blocks of pack {name} do not lead to its root")]
    Unproven {
        /// Which pack.
        name: Oid,
    },
}

impl Manifest {
    /// What its holder signs, under [`MANIFEST_TYPE`].
    ///
    /// Shape: `version u8 = 1 | project [32] | envoy [32] | made u64 | count u8 | packs`, each pack
    /// `name [20] | bytes u64 | objects u32 | root [32]`, integers big-endian.
    ///
    /// # Errors
    ///
    /// [`BadManifest::TooMany`] if it lists more than it may.
    pub fn body(&self) -> Result<Vec<u8>, BadManifest> {
        let count = u8::try_from(self.packs.len())
            .ok()
            .filter(|count| usize::from(*count) <= PACKS_MAX)
            .ok_or(BadManifest::TooMany { what: "packs" })?;
        let blocks = self.packs.iter().map(|pack| pack.tree.blocks());
        if blocks.fold(0, u64::saturating_add) > BLOCKS_MAX {
            return Err(BadManifest::TooMany { what: "blocks" });
        }
        let mut body = vec![VERSION];
        body.extend_from_slice(&self.project);
        body.extend_from_slice(&self.envoy);
        body.extend_from_slice(&self.made_ms.to_be_bytes());
        body.push(count);
        for pack in &self.packs {
            body.extend_from_slice(pack.name.as_slice());
            body.extend_from_slice(&pack.tree.bytes().to_be_bytes());
            body.extend_from_slice(&pack.objects.to_be_bytes());
            body.extend_from_slice(&pack.tree.root());
        }
        Ok(body)
    }

    /// Joins what was signed, the signature, and the values of the blocks.
    ///
    /// Shape: `length u32 | body | signature [64] | values`, for each pack of more than one block, in their order, 32 bytes
    /// for each block.
    #[must_use]
    pub fn seal(&self, body: &[u8], signature: &[u8; 64]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(signature);
        for value in self.packs.iter().flat_map(|pack| pack.tree.values()) {
            bytes.extend_from_slice(value);
        }
        bytes
    }
}

impl SignedManifest {
    /// Takes a manifest apart and checks all but the signature: every pack has blocks that lead to its root.
    ///
    /// # Errors
    ///
    /// [`BadManifest`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        if bytes.len() > MANIFEST_MAX {
            return Err(BadManifest::TooLarge { bytes: bytes.len() });
        }
        let mut rest = Rest(bytes);
        let length = usize::try_from(rest.u32()?).map_err(|_| BadManifest::Malformed)?;
        let body = rest.take(length)?;
        let signature = rest.array()?;
        let mut head = Rest(body);
        let [version] = head.array()?;
        if version != VERSION {
            return Err(BadManifest::Version { version });
        }
        let (project, envoy, made_ms) = (head.array()?, head.array()?, head.u64()?);
        let [count] = head.array()?;
        if usize::from(count) > PACKS_MAX {
            return Err(BadManifest::TooMany { what: "packs" });
        }
        let (mut packs, mut blocks) = (Vec::<Offer>::new(), 0_u64);
        for _ in 0..count {
            let name = Oid::from_bytes_or_panic(&head.array::<20>()?);
            let (length, objects, root) = (head.u64()?, head.u32()?, head.array()?);
            if length < SMALLEST || packs.iter().any(|pack| pack.name == name) {
                return Err(BadManifest::Impossible { name });
            }
            blocks = blocks.saturating_add(blocks_of(length));
            if blocks > BLOCKS_MAX {
                return Err(BadManifest::TooMany { what: "blocks" });
            }
            let mut values = Vec::new();
            if blocks_of(length) > 1 {
                for _ in 0..blocks_of(length) {
                    values.push(rest.array()?);
                }
            }
            let tree =
                BlockTree::proven(length, root, values).ok_or(BadManifest::Unproven { name })?;
            packs.push(Offer {
                name,
                objects,
                tree,
            });
        }
        if !head.0.is_empty() || !rest.0.is_empty() {
            return Err(BadManifest::Malformed);
        }
        Ok(Self {
            manifest: Manifest {
                project,
                envoy,
                made_ms,
                packs,
            },
            body: body.to_vec(),
            signature,
        })
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadManifest> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(BadManifest::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadManifest> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| BadManifest::Malformed)
    }

    fn u32(&mut self) -> Result<u32, BadManifest> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, BadManifest> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests;
