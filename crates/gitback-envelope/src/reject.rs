//! Why an envelope is refused.

use gitback_identity::{HandleReject, KeyReject, NameReject};

use crate::refname::RefReject;

/// Why an envelope is refused. Always the sender's fault, never ours.
///
/// The causes are grouped by who finds them: the bytes ([`Malformed`]), one field ([`FieldFault`]), the rules that
/// tie fields together ([`Breach`]), then the signature and the set it is put into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// It has more bytes than its kind may have.
    #[error("longer than {limit} bytes")]
    TooLarge {
        /// The most bytes allowed.
        limit: usize,
    },
    /// The bytes are not deterministic CBOR.
    #[error("not deterministic CBOR")]
    Encoding(#[source] Malformed),
    /// The type is not `application/vnd.gitback.<kind>.v<number>+cbor`.
    #[error("not the type of a gitback envelope")]
    Type,
    /// One field is at fault.
    #[error("field {key} is refused")]
    Field {
        /// The field's number in docs/spec/envelope.md §4.
        key: u64,
        /// What is wrong with it.
        #[source]
        fault: FieldFault,
    },
    /// The fields are well formed but may not stand together.
    #[error("the fields contradict each other")]
    Rule(#[source] Breach),
    /// The signature is not the signer's over these bytes.
    #[error("the signature does not belong to the signer and these bytes")]
    Signature,
    /// The heir of a delegation has not signed it.
    #[error("the heir has not signed the delegation")]
    HeirSignature,
    /// The envelope is about another project.
    #[error("the envelope is about another project")]
    WrongProject,
    /// `prev` is here, but is not the one before on the same chain.
    #[error("prev is not the envelope before on the same chain")]
    BrokenChain,
    /// No more envelopes whose past is missing can be kept.
    #[error("too many envelopes wait for their past")]
    WaitingFull,
    /// No more envelopes without effect can be kept for this puddle.
    #[error("too many envelopes without effect from one puddle")]
    VoidFull,
    /// No more envelopes of kinds that this version does not know can be kept.
    #[error("too many envelopes of unknown kinds")]
    UnknownFull,
    /// No more envelopes of this project can be kept.
    #[error("too many envelopes in one project")]
    ProjectFull,
    /// An envelope of a kind that this version does not know cannot be written by it.
    #[error("an envelope of an unknown kind cannot be written")]
    NotWritable,
}

impl Reject {
    /// A stable word for the innermost reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::Encoding(malformed) => malformed.code(),
            Self::Type => "bad-type",
            Self::Field { fault, .. } => fault.code(),
            Self::Rule(breach) => breach.code(),
            Self::Signature => "bad-signature",
            Self::HeirSignature => "bad-heir-signature",
            Self::WrongProject => "wrong-project",
            Self::BrokenChain => "broken-chain",
            Self::WaitingFull => "waiting-full",
            Self::VoidFull => "void-full",
            Self::UnknownFull => "unknown-full",
            Self::ProjectFull => "project-full",
            Self::NotWritable => "not-writable",
        }
    }

    pub(crate) const fn field(key: u64, fault: FieldFault) -> Self {
        Self::Field { key, fault }
    }
}

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Self {
        Self::Encoding(malformed)
    }
}

impl From<Breach> for Reject {
    fn from(breach: Breach) -> Self {
        Self::Rule(breach)
    }
}

/// How bytes differ from the one CBOR encoding that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end inside an item.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes follow the last item.
    #[error("bytes follow the last item")]
    Trailing,
    /// A number or a length is not in its shortest form.
    #[error("a number or length is not in its shortest form")]
    NotShortest,
    /// An item of another type stands where this one is expected.
    #[error("an item has the wrong type")]
    WrongType,
    /// A negative number, a tag, a float, a simple value or an indefinite length.
    #[error("an item of a type that envelopes do not have")]
    Unsupported,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// The keys of a map are not strictly ascending.
    #[error("the keys of a map are not strictly ascending")]
    KeyOrder,
    /// Items are nested too deeply.
    #[error("items are nested too deeply")]
    TooDeep,
    /// An array or a map has the wrong number of items.
    #[error("an array or a map has the wrong number of items")]
    ItemCount,
}

impl Malformed {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Trailing => "trailing-bytes",
            Self::NotShortest => "not-shortest",
            Self::WrongType => "wrong-item-type",
            Self::Unsupported => "unsupported-item",
            Self::NotUtf8 => "not-utf8",
            Self::KeyOrder => "key-order",
            Self::TooDeep => "too-deep",
            Self::ItemCount => "item-count",
        }
    }
}

/// What is wrong with one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldFault {
    /// The kind needs it and it is absent.
    #[error("it is missing")]
    Missing,
    /// The kind does not have it.
    #[error("this kind does not have it")]
    Unknown,
    /// A byte string of fixed length has another length.
    #[error("it has the wrong length")]
    WrongLength,
    /// A number is outside its range.
    #[error("the number is out of range")]
    OutOfRange,
    /// A list is not strictly ascending.
    #[error("the list is not strictly ascending")]
    OutOfOrder,
    /// A list has more items than allowed.
    #[error("the list has more than {limit} items")]
    TooMany {
        /// The most items allowed.
        limit: usize,
    },
    /// A list that must be absent or filled is empty.
    #[error("the list is empty")]
    Empty,
    /// It is not a usable key.
    #[error("not a usable key")]
    Key(#[source] KeyReject),
    /// It is not a puddle name.
    #[error("not a puddle name")]
    Name(#[source] NameReject),
    /// It is not a handle.
    #[error("not a handle")]
    Handle(#[source] HandleReject),
    /// It is not the name of a ref.
    #[error("not the name of a ref")]
    RefName(#[source] RefReject),
}

impl FieldFault {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing-field",
            Self::Unknown => "unknown-field",
            Self::WrongLength => "wrong-length",
            Self::OutOfRange => "out-of-range",
            Self::OutOfOrder => "list-order",
            Self::TooMany { .. } => "too-many",
            Self::Empty => "empty-list",
            Self::Key(reason) => reason.code(),
            Self::Name(reason) => reason.code(),
            Self::Handle(reason) => reason.code(),
            Self::RefName(reason) => reason.code(),
        }
    }
}

/// Which rule between fields is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// `init` carries something that does not follow from its founder and handle.
    #[error("init carries something besides its founder and handle")]
    InitNotBare,
    /// The project of `init` is not the one its founder and handle give.
    #[error("the project id does not follow from the founder and the handle")]
    ProjectMismatch,
    /// The signer may not sign this kind for this puddle on this envoy.
    #[error("the signer may not sign this kind")]
    WrongSigner,
    /// The envoy is zero outside `init`.
    #[error("the envoy is missing")]
    NoEnvoy,
    /// The incarnation is zero outside `init`.
    #[error("the incarnation is zero")]
    NoIncarnation,
    /// `prev` is there at `seq` 0, or absent after it.
    #[error("prev must be there exactly when seq is not 0")]
    PrevMismatch,
    /// A chain begins without naming any past, and so not `init`.
    #[error("the chain begins without naming its past")]
    NoPast,
    /// A tombstone names its own project as the one that takes its place.
    #[error("the project is named as its own successor")]
    OwnSuccessor,
}

impl Breach {
    /// A stable word for this reason, as the test vectors spell it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InitNotBare => "init-not-bare",
            Self::ProjectMismatch => "project-mismatch",
            Self::WrongSigner => "wrong-signer",
            Self::NoEnvoy => "no-envoy",
            Self::NoIncarnation => "no-incarnation",
            Self::PrevMismatch => "prev-mismatch",
            Self::NoPast => "no-past",
            Self::OwnSuccessor => "own-successor",
        }
    }
}
