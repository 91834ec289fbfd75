//! The authority's key, for local users: who holds it, to whom it is sealed, and bringing it back.

use std::sync::Arc;

use gitback_fleet::{Roster, Seal};
use gitback_helper::{
    AuthorityHolder, AuthoritySeal, AuthorityStatus, Failure, Reply, Secret, chain, exit_code,
};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey, hex};
use zeroize::Zeroizing;

use super::status::row;
use super::{may_administer, no_fleet, only_the_authority, was_removed};
use crate::clock;
use crate::daemon::Envoy;
use crate::fleet::{self, Part, SealFault, SealedTo, TakeOverFault};
use crate::local::admission::administers;
use crate::local::failures::usage;

/// The shortest beginning of a key that names a person.
const PREFIX_LEAST: usize = 8;

pub(super) fn show(envoy: &Envoy, uid: u32) -> AuthorityStatus {
    let part = envoy.fleet().part(envoy.public());
    // In a fleet that has removed it, it is nobody.
    let roster = envoy.fleet().roster().filter(|_| part != Part::Removed);
    let may_administer = administers(envoy, uid);
    let (mut holders, mut seals) = (Vec::new(), Vec::new());
    if let Some(roster) = &roster {
        let of_it = roster.live(clock::now_ms());
        for one in of_it.filter(|one| one.role().is_authority()) {
            let row = row(envoy, one.envoy());
            holders.push(AuthorityHolder {
                name: one.name().to_owned(),
                key: row.key,
                is_self: row.is_self,
                last_seen_ms: row.last_seen_ms,
                reason: row.reason,
            });
        }
        seals.extend(in_force(roster).map(|one| AuthoritySeal {
            puddle: one.member().to_string(),
            sealed_ms: one.number(),
            record: may_administer.then(|| hex::encode(one.bytes())),
        }));
    }
    holders.sort_by(|one, other| (!one.is_self, &one.name).cmp(&(!other.is_self, &other.name)));
    AuthorityStatus {
        fleet: roster.map(|roster| roster.authority().to_string()),
        is_authority: part == Part::Authority,
        may_administer,
        now_ms: clock::now_ms(),
        holders,
        seals,
    }
}

fn in_force(roster: &Roster) -> impl Iterator<Item = &Seal> {
    roster.seals().filter(|one| one.is_in_force())
}

/// What gets a fleet an authority again whose machines with the key are gone; nothing where nobody could.
pub(super) fn way_out(envoy: &Envoy) -> String {
    let roster = envoy.fleet().roster();
    if roster.is_some_and(|roster| in_force(&roster).next().is_some()) {
        "if it is lost for good, on any machine of the fleet: vigo envoy authority take-over"
            .to_owned()
    } else {
        "if it is lost for good: docs/configuration.md, The fleet".to_owned()
    }
}

pub(super) fn seal(
    envoy: &Arc<Envoy>,
    uid: u32,
    puddle: &str,
    by_the_way: bool,
) -> Result<Reply, Failure> {
    may_administer(envoy, uid, "seal the key of the fleet's authority")?;
    refuse_unless_authority(envoy, "seals its key")?;
    let member: PuddleKey = puddle.parse().map_err(|error| {
        Failure::new(exit_code::USAGE, "that is not the key of a puddle")
            .because(chain(&error))
            .hint("its owner sees it: vigo swarm puddle status")
    })?;
    let roster = envoy.fleet().roster();
    if roster
        .as_ref()
        .is_some_and(|roster| is_of_a_machine(envoy, roster, &member))
    {
        let what = "that is not the key of a puddle";
        return Err(Failure::new(exit_code::USAGE, what)
            .because("it is a machine's, which keeps the secret half in a file: whoever gets the machine would have the fleet")
            .hint("a person's key: vigo swarm puddle status"));
    }
    let was_ended =
        roster.is_some_and(|roster| roster.seal(&member).is_some_and(|one| !one.is_in_force()));
    if by_the_way && was_ended {
        return Ok(accepted(Vec::new()));
    }
    let sealed = envoy.fleet().seal_to(&member);
    let sealed = sealed.map_err(|fault| not_sealed(envoy, &fault))?;
    let words = member.fingerprint();
    let note = match sealed {
        SealedTo::New => {
            fleet::spread(envoy);
            format!("{words} can take the fleet over, on any machine of it")
        }
        SealedTo::Already => format!("{words} could take the fleet over already"),
    };
    Ok(accepted(vec![note]))
}

/// Whether a key is one that lies open on some machine's disk.
fn is_of_a_machine(envoy: &Envoy, roster: &Roster, key: &PuddleKey) -> bool {
    let machine = EnvoyKey::new(*key.key());
    key.key() == roster.authority()
        || machine == *envoy.public()
        || roster.enrolment(&machine).is_some()
        || roster.removal(&machine).is_some()
        || envoy.neighbour(&machine).is_some()
}

pub(super) fn unseal(envoy: &Arc<Envoy>, uid: u32, puddle: &str) -> Result<Reply, Failure> {
    may_administer(envoy, uid, "end the seals of the fleet's authority")?;
    refuse_unless_authority(envoy, "ends its seals")?;
    let roster = envoy.fleet().roster().ok_or_else(|| no_fleet(envoy))?;
    let is_meant =
        |one: &&Seal| puddle.len() >= PREFIX_LEAST && one.member().to_string().starts_with(puddle);
    let found: Vec<&Seal> = in_force(&roster).filter(is_meant).collect();
    let [one] = found.as_slice() else {
        let what = format!("the authority's key is sealed to nobody with the key {puddle}");
        return Err(Failure::new(exit_code::UNKNOWN, what)
            .hint("see to whom it is: vigo envoy authority")
            .hint("a key is meant by 8 digits of its beginning, or more"));
    };
    let member = *one.member();
    let ended = envoy.fleet().end_seals(&[member]);
    ended.map_err(|fault| not_sealed(envoy, &fault))?;
    fleet::spread(envoy);
    let mut notes = vec![format!(
        "{} can take the fleet over no longer, as far as the envoys hear of it",
        member.fingerprint()
    )];
    notes.push(
        "a copy of the roster from before still opens with that key: if somebody may have both, found the fleet anew"
            .to_owned(),
    );
    let roster = envoy.fleet().roster();
    if roster.is_some_and(|roster| in_force(&roster).next().is_none()) {
        notes.push(format!(
            "nobody can now: the loss of {} would leave the fleet without an authority",
            envoy.name()
        ));
    }
    Ok(accepted(notes))
}

fn refuse_unless_authority(envoy: &Envoy, does: &str) -> Result<(), Failure> {
    match envoy.fleet().part(envoy.public()) {
        Part::Authority => Ok(()),
        Part::None => Err(no_fleet(envoy)),
        Part::Removed => Err(was_removed(envoy)),
        Part::Member | Part::Expired => Err(only_the_authority(envoy, does)),
    }
}

fn not_sealed(envoy: &Envoy, fault: &SealFault) -> Failure {
    let what = "the seals of the authority's key are as before";
    let failure = Failure::new(exit_code::FAILED, what).because(chain(fault));
    match fault {
        SealFault::TooMany => failure
            .hint("see to whom it is sealed: vigo envoy authority")
            .hint("end one of them:          vigo envoy authority unseal KEY"),
        SealFault::NotTheAuthority => only_the_authority(envoy, "does that"),
        SealFault::Outranked
        | SealFault::Reject(_)
        | SealFault::Randomness
        | SealFault::Store(_) => failure,
    }
}

pub(super) fn take_over(envoy: &Arc<Envoy>, uid: u32, secret: &Secret) -> Result<Reply, Failure> {
    may_administer(envoy, uid, "take the fleet over")?;
    let seed = hex::decode_exact::<32>(secret.text()).map(Zeroizing::new);
    let seed = seed.ok_or_else(|| usage("a secret key is 64 lowercase hex digits"))?;
    let secret = SecretKey::from_seed(&seed);
    let taken = envoy.fleet().take_over(envoy, secret);
    let is_new = taken.map_err(|fault| not_taken_over(envoy, &fault))?;
    let name = envoy.name();
    if !is_new {
        let note = format!("{name} holds the key of the fleet's authority already");
        return Ok(accepted(vec![note]));
    }
    let mut notes = vec![format!(
        "{name} holds the key of the fleet's authority now: it enrols, renews and removes"
    )];
    if let Err(fault) = envoy.fleet().begin_authority(envoy) {
        notes.push(format!(
            "its own enrolment does not say so yet: {}",
            chain(&fault)
        ));
    }
    fleet::spread(envoy);
    envoy.changes().note();
    Ok(accepted(notes))
}

fn not_taken_over(envoy: &Envoy, fault: &TakeOverFault) -> Failure {
    let what = format!("{} does not take the fleet over", envoy.name());
    let failure = |code| Failure::new(code, what.clone()).because(chain(fault));
    match fault {
        TakeOverFault::NoFleet => no_fleet(envoy),
        TakeOverFault::Removed => was_removed(envoy),
        TakeOverFault::NotEnrolled | TakeOverFault::OtherKey => failure(exit_code::NOT_PERMITTED),
        TakeOverFault::Store(_) => failure(exit_code::FAILED),
    }
}

fn accepted(notes: Vec<String>) -> Reply {
    Reply::Accepted { notes, token: None }
}
