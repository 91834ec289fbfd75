//! What this envoy answers about its fleet: to anybody who can prove to be of it, or has a ticket.

use gitback_fleet::{EnrolRequest, Enrolment, Petition, Role, Roster, Ticket};
use gitback_identity::EnvoyKey;
use gitback_peer::{Caller, Refusal, RefusalKind};

use super::{Surface, refusal, stranger};
use crate::clock;
use crate::daemon::{Envoy, chain};
use crate::fleet::{self, EnrolFault, MergeFault, Part, Word};

/// The code of the answer to whom this envoy has no reason to hear.
pub(crate) const NOT_OF_THE_FLEET: &str = "not-of-the-fleet";

/// The code of the answer to an envoy that was removed from the fleet.
pub(crate) const REMOVED: &str = "removed";

impl Surface {
    /// Both rosters become the same. Who was removed is shown that, and nothing else.
    pub(super) fn answer_roster(
        &self,
        caller: &EnvoyKey,
        theirs: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let envoy = &self.0;
        let Some(ours) = envoy.fleet().roster() else {
            let reason = format!("{} is in no fleet", envoy.name());
            return Err(refusal(RefusalKind::Forbidden, "no-fleet", reason));
        };
        let malformed = |error: gitback_fleet::FleetReject| {
            let reason = format!("the roster is refused: {error}");
            refusal(RefusalKind::Bad, error.code(), reason)
        };
        // Before any signature is checked: a stranger's own fleet is no work for this envoy.
        if Roster::authority_in(theirs).map_err(malformed)? != *ours.authority() {
            let reason = format!("{} is of another fleet", envoy.name());
            return Err(refusal(RefusalKind::Forbidden, "other-fleet", reason));
        }
        if ours.removal(caller).is_some() {
            return Ok(ours.only_removal_of(caller).encode());
        }
        let now = clock::now_ms();
        let known = envoy.neighbour(caller).is_some() || ours.is_live(caller, now);
        if known && theirs == ours.encode() {
            return Ok(ours.encode());
        }
        // Nor does somebody unknown have more than one signature checked without a sound one.
        if !known {
            let own = Roster::enrolment_in(theirs, caller).map_err(malformed)?;
            let is_live =
                |own: &Enrolment| *own.authority() == *ours.authority() && own.is_in_force(now);
            if !own.as_ref().is_some_and(is_live) {
                return Err(stranger(envoy, caller));
            }
        }
        let theirs = Roster::decode(theirs).map_err(malformed)?;
        if !known && !theirs.is_live(caller, now) {
            return Err(stranger(envoy, caller));
        }
        if let Err(fault) = envoy.fleet().merge(envoy, &theirs) {
            return Err(match fault {
                MergeFault::Reject(reject) => malformed(reject),
                MergeFault::Store(fault) => unstored(&fault),
            });
        }
        if let Some(neighbour) = envoy.neighbour(caller) {
            neighbour.note_answer();
        }
        let merged = envoy.fleet().roster().unwrap_or(ours);
        Ok(if merged.removal(caller).is_some() {
            merged.only_removal_of(caller).encode()
        } else {
            merged.encode()
        })
    }

    /// Enrols an envoy that has a ticket, or for which an envoy of the fleet asks.
    pub(super) fn answer_enrol(
        &self,
        caller: &Caller,
        petition: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let envoy = &self.0;
        let petition = Petition::decode(petition).map_err(|error| {
            let reason = format!("the petition is refused: {error}");
            refusal(RefusalKind::Bad, error.code(), reason)
        })?;
        if envoy.fleet().part(envoy.public()) != Part::Authority {
            return Err(not_the_authority(envoy));
        }
        let request = &petition.request;
        let expected = petition
            .secret
            .as_ref()
            .map_or(petition.challenge, Ticket::challenge);
        if *request.challenge() != expected || petition.challenge != expected {
            let reason = "the request does not answer the challenge".to_owned();
            return Err(refusal(RefusalKind::Bad, "wrong-challenge", reason));
        }
        self.may_enrol(caller, &petition, request)?;
        let word = petition.secret.as_ref();
        let word = word.map_or(Word::Member(caller.key), Word::Ticket);
        let enrolled = envoy.fleet().enrol(envoy, request, word);
        if enrolled.map_err(|fault| not_enrolled(&fault))? {
            fleet::spread(envoy);
        }
        let welcome = envoy.fleet().welcome(envoy);
        welcome
            .map(|welcome| welcome.encode())
            .ok_or_else(|| not_the_authority(envoy))
    }

    /// Whether the caller may have an envoy enrolled: itself with a ticket, another one if it is of the fleet.
    fn may_enrol(
        &self,
        caller: &Caller,
        petition: &Petition,
        request: &EnrolRequest,
    ) -> Result<(), Refusal> {
        let envoy = &self.0;
        if petition.secret.is_some() {
            if *request.envoy() == caller.key {
                return Ok(());
            }
            let reason = "with a ticket an envoy asks for itself only".to_owned();
            return Err(refusal(RefusalKind::Forbidden, "not-yours", reason));
        }
        let roster = envoy.fleet().roster();
        let is_live = roster.is_some_and(|roster| roster.is_live(&caller.key, clock::now_ms()));
        if !is_live {
            return Err(stranger(envoy, &caller.key));
        }
        if envoy.role() == Role::StrictAuthority {
            let name = envoy.name();
            let reason =
                format!("{name} enrols only for its own users: enrol_through in its envoy.toml");
            return Err(refusal(
                RefusalKind::Forbidden,
                "enrol-through-authority",
                reason,
            ));
        }
        Ok(())
    }
}

fn not_the_authority(envoy: &Envoy) -> Refusal {
    let who = envoy.authority().map_or_else(
        || "who does is not known there".to_owned(),
        |one| format!("{} does, with the key {}", one.name(), one.envoy()),
    );
    let reason = format!("{} does not enrol for its fleet: {who}", envoy.name());
    refusal(RefusalKind::Forbidden, "not-the-authority", reason)
}

fn not_enrolled(fault: &EnrolFault) -> Refusal {
    let code = match fault {
        EnrolFault::Store(fault) => return unstored(fault),
        EnrolFault::Ticket(ticket) => ticket.code(),
        EnrolFault::NotTheAuthority => "not-the-authority",
        EnrolFault::Removed => REMOVED,
        EnrolFault::NameTaken { .. } => "name-taken",
        EnrolFault::Limit { .. } => "enrol-limit",
        EnrolFault::Reject(reject) => reject.code(),
        EnrolFault::Clock { .. } => "wrong-clock",
        EnrolFault::Randomness | EnrolFault::TooManyTickets => "fault",
    };
    refusal(RefusalKind::Forbidden, code, chain(fault))
}

fn unstored(fault: &fleet::FleetFault) -> Refusal {
    tracing::error!(error = %chain(fault), "cannot store what is known of the fleet");
    let reason = "the envoy could not store it".to_owned();
    refusal(RefusalKind::Internal, "fault", reason)
}
