//! Capability tokens: what a stranger needs to believe that an envoy may ask for a puddle.

use alloc::vec::Vec;

use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey};

use crate::act::{Act, Role};
use crate::cbor::{Reader, Writer};
use crate::envelope::{Envelope, Verified};
use crate::fold::{Access, HOPS_MAX};
use crate::id::EnvelopeId;
use crate::reject::{Malformed, Reject};

/// The most envelopes in a token: init, five delegations, invite, join, grant.
pub const TOKEN_ENVELOPES_MAX: usize = 9;
/// The most bytes in a token: 512 KiB.
pub const TOKEN_MAX: usize = 512 * 1024;

/// The minimal proof that an envoy may ask for a puddle: envelopes of one project that prove each other.
///
/// It shows that a grant was made, not that nothing was taken back since: whoever holds the project asks its fold,
/// and whoever does not, asks a holder before serving anyone.
///
/// Source: docs/spec/token.md.
#[derive(Clone, Debug)]
pub struct Token(Vec<Verified>);

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The genesis key of the project.
    pub founder: PuddleKey,
    /// What the founder calls the project.
    pub handle: Handle,
    /// The puddle that grants.
    pub puddle: PuddleKey,
    /// What the puddle may do.
    pub access: Access,
    /// The envoy that may ask.
    pub envoy: EnvoyKey,
    /// The user on that envoy's machine for whom it may ask.
    pub uid: u32,
    /// When the grant ends for the envoy that first accepts it, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// Why a token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenReject {
    /// It has more bytes or envelopes than any token needs.
    #[error("longer than a token may be")]
    TooLong,
    /// The bytes are not a list of envelopes.
    #[error("not a list of envelopes")]
    Encoding(#[source] Malformed),
    /// One of its envelopes is refused.
    #[error("envelope {at} of the token is refused")]
    Envelope {
        /// Which one, from 0.
        at: usize,
        /// Why.
        #[source]
        reject: Reject,
    },
    /// It is about another project.
    #[error("the token is for another project")]
    WrongProject,
    /// It does not begin with `init`.
    #[error("the token does not begin with init")]
    NoInit,
    /// The delegations do not lead from the genesis key hop by hop.
    #[error("the delegations of the token do not lead from key to key")]
    BrokenLine,
    /// The invitation is not by the founder line, or the join is not for it.
    #[error("the membership of the token is not one that the founder line gave")]
    BrokenMembership,
    /// It does not end with a grant by the puddle it is about.
    #[error("the token does not end with a grant by its puddle")]
    NoGrant,
}

impl TokenReject {
    /// A stable word for the innermost reason.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "token-too-long",
            Self::Encoding(malformed) => malformed.code(),
            Self::Envelope { reject, .. } => reject.code(),
            Self::WrongProject => "wrong-project",
            Self::NoInit => "token-no-init",
            Self::BrokenLine => "token-broken-line",
            Self::BrokenMembership => "token-broken-membership",
            Self::NoGrant => "token-no-grant",
        }
    }
}

impl Token {
    /// Makes a token of envelopes in their order: init, delegations, invite and join of a member, grant.
    #[must_use]
    pub const fn new(envelopes: Vec<Verified>) -> Self {
        Self(envelopes)
    }

    /// The envelopes, in order.
    #[must_use]
    pub fn envelopes(&self) -> &[Verified] {
        &self.0
    }

    /// The id of the grant, which is the last envelope.
    #[must_use]
    pub fn grant(&self) -> Option<&EnvelopeId> {
        self.0.last().map(Verified::id)
    }

    /// Writes the token.
    ///
    /// Shape: CBOR array of byte strings, each one envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.array(self.0.len());
        for envelope in &self.0 {
            writer.bytes(envelope.bytes());
        }
        writer.finish()
    }

    /// Reads a token and checks form and signature of each envelope in it, not yet what they prove.
    ///
    /// # Errors
    ///
    /// [`TokenReject`] says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, TokenReject> {
        if bytes.len() > TOKEN_MAX {
            return Err(TokenReject::TooLong);
        }
        let mut reader = Reader::new(bytes);
        let count = reader.array().map_err(TokenReject::Encoding)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > TOKEN_ENVELOPES_MAX {
            return Err(TokenReject::TooLong);
        }
        let mut envelopes = Vec::new();
        for at in 0..count {
            let bytes = reader.bytes().map_err(TokenReject::Encoding)?;
            let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
            envelopes.push(envelope.map_err(|reject| TokenReject::Envelope { at, reject })?);
        }
        reader.finish().map_err(TokenReject::Encoding)?;
        Ok(Self(envelopes))
    }

    /// What the token proves about `project`, with nothing else known.
    ///
    /// # Errors
    ///
    /// [`TokenReject`] says which link of the proof is missing.
    ///
    /// Source: docs/spec/token.md §2.
    pub fn verify(&self, project: &ProjectId) -> Result<Proof, TokenReject> {
        if self
            .0
            .iter()
            .any(|envelope| envelope.statement().project != *project)
        {
            return Err(TokenReject::WrongProject);
        }
        let mut rest = self.0.iter().peekable();
        let init = rest.next().ok_or(TokenReject::NoInit)?;
        let Act::Init { handle } = &init.statement().act else {
            return Err(TokenReject::NoInit);
        };
        let founder = init.statement().puddle;
        let mut line = Vec::from([founder]);
        while let Some(Act::Delegate(delegate)) = rest.peek().map(|next| &next.statement().act) {
            let by = rest.next().map(|next| next.statement().puddle);
            let hop = u64::try_from(line.len()).unwrap_or(u64::MAX);
            if delegate.hop != hop || hop > HOPS_MAX || by.as_ref() != line.last() {
                return Err(TokenReject::BrokenLine);
            }
            line.push(delegate.to);
        }
        let (puddle, access) = membership(&mut rest, &line)?;
        let grant = rest.next().ok_or(TokenReject::NoGrant)?.statement();
        match (grant.grant(), rest.next()) {
            (Some(act), None) if grant.puddle == puddle => Ok(Proof {
                founder,
                handle: handle.clone(),
                puddle,
                access,
                envoy: act.envoy,
                uid: act.uid,
                expires_ms: act.expires_ms,
            }),
            _ => Err(TokenReject::NoGrant),
        }
    }
}

/// Reads an invitation and the join that follows it; without them the last key of the line speaks.
fn membership<'a>(
    rest: &mut core::iter::Peekable<impl Iterator<Item = &'a Verified>>,
    line: &[PuddleKey],
) -> Result<(PuddleKey, Access), TokenReject> {
    let next = rest.peek().map(|next| &next.statement().act);
    let Some(Act::Invite(invite)) = next else {
        let last = line.last().ok_or(TokenReject::NoInit)?;
        return Ok((*last, Access::Founder));
    };
    let (Some(given), Some(taken)) = (rest.next(), rest.next()) else {
        return Err(TokenReject::BrokenMembership);
    };
    let joined = matches!(&taken.statement().act, Act::Join { invite } if invite == given.id());
    if !line.contains(&given.statement().puddle)
        || !joined
        || taken.statement().puddle != invite.puddle
    {
        return Err(TokenReject::BrokenMembership);
    }
    let access = match invite.role {
        Role::Member => Access::Member,
        Role::Reader => Access::Reader,
    };
    Ok((invite.puddle, access))
}
