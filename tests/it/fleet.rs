//! Envoys that no configuration brings together: tickets, enrolment, the roster, and removal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gitback_envelope::cbor::Writer;
use gitback_fleet::{EnrolRequest, Enrolment, Petition, Removal, Role, Roster, Ticket};
use gitback_helper::{Client as Helper, EnvoyCard, Failure, Reply, Request};
use gitback_identity::{EnvoyKey, PublicKey, SecretKey, hex};
use gitback_peer::{CallError, Client, Digests, PeerAddress, Refusal};
use gitback_tests::{Binaries, Fleet, Invocation, Outcome, Person, until};
use serde_json::Value;

use crate::world::{SOON, commit, done, fails, notes, options, push_all, says};

const CHALLENGE: [u8; 32] = [7; 32];

const DAY_MS: u64 = 24 * 3_600_000;

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.expect("a clock").as_millis()).expect("this century")
}

/// Envoys that know nobody.
pub(crate) fn strangers(envoys: usize) -> Fleet {
    Fleet::start(options(envoys).strangers()).expect("the envoys start")
}

/// A ticket of the envoy `index`.
pub(crate) fn ticket(fleet: &Fleet, index: usize) -> String {
    let made = done(fleet.person(index).vigo(["envoy", "ticket"]));
    made.stdout.trim().to_owned()
}

/// Has the envoy `index` join the fleet of mars.
pub(crate) fn join(fleet: &Fleet, index: usize) {
    let ticket = ticket(fleet, 0);
    done(fleet.person(index).vigo(["join", &ticket]));
}

pub(crate) fn list(person: &Person) -> Value {
    let asked = done(person.vigo(["envoy", "list", "--json"]));
    serde_json::from_str(&asked.stdout).expect("JSON")
}

/// The names of those that have this standing, sorted.
pub(crate) fn with(standing: &str, list: &Value) -> Vec<String> {
    let envoys = list["envoys"].as_array().expect("a list");
    let named = envoys.iter().filter(|one| one["standing"] == standing);
    let mut names: Vec<String> = named
        .map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

/// Waits until these are enrolled by what `person` sees, and all of them have answered there.
#[track_caller]
pub(crate) fn wait_for_fleet(person: &Person, names: &[&str]) {
    let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    names.sort();
    let reached = until(SOON, "the fleet", || {
        let list = list(person);
        let envoys = list["envoys"].as_array().expect("a list");
        let met = envoys
            .iter()
            .filter(|one| one["standing"] == "enrolled" && one["is_self"] == false)
            .all(|one| one["last_seen_ms"].is_u64() && one["reason"].is_null());
        let same = with("enrolled", &list) == names;
        Ok(if same && met {
            Ok(())
        } else {
            Err(list.to_string())
        })
    });
    reached.expect("the fleet comes together");
}

pub(crate) fn helper(fleet: &Fleet, index: usize, request: &Request) -> Reply {
    let socket = fleet.envoy(index).root().join("var/run/vigo/gitback.sock");
    let mut client = Helper::connect(&socket).expect("the daemon runs");
    client.call(request, &mut |_| ()).expect("an answer")
}

fn card(fleet: &Fleet, index: usize) -> EnvoyCard {
    match helper(fleet, index, &Request::Card) {
        Reply::Card(card) => card,
        other => panic!("no card: {other:?}"),
    }
}

/// What the envoy `by` answers when the envoy `index` asks to be enrolled.
fn enrol(fleet: &Fleet, by: usize, index: usize) -> Reply {
    let challenge = hex::encode(&CHALLENGE);
    let asked = Request::EnrolRequest {
        challenge: challenge.clone(),
    };
    let request = match helper(fleet, index, &asked) {
        Reply::EnrolRequest { request } => request,
        other => panic!("no request: {other:?}"),
    };
    helper(fleet, by, &Request::Enrol { request, challenge })
}

#[track_caller]
pub(crate) fn refused(reply: Reply, code: u8, parts: &[&str]) {
    let failure: Failure = match reply {
        Reply::Failed(failure) => failure,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(failure.code, code, "{failure}");
    says(&failure.to_string(), parts);
}

pub(crate) fn secret_in(fleet: &Fleet, index: usize, file: &str) -> SecretKey {
    let dir = fleet.envoy(index).root().join("var/lib/vigo/identity");
    let text = std::fs::read_to_string(dir.join(file)).expect("a key");
    let seed = hex::decode_exact(text.trim_end()).expect("hex");
    SecretKey::from_seed(&seed)
}

pub(crate) fn place(fleet: &Fleet, index: usize) -> PeerAddress {
    PeerAddress {
        key: fleet.envoy(index).key().parse().expect("a key"),
        address: fleet.envoy(index).address(),
    }
}

/// Another machine's hands, with a key of its own.
pub(crate) struct Hand {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Hand {
    pub(crate) fn with(secret: &SecretKey) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        Self {
            runtime: runtime.expect("a runtime"),
            client: Client::new(secret).expect("a client"),
        }
    }

    pub(crate) fn roster(&self, to: &PeerAddress, roster: &Roster) -> Result<Roster, Refusal> {
        let call = self.client.roster(to, roster.encode());
        let answer = settled(self.runtime.block_on(call))?;
        Ok(Roster::decode(&answer).expect("a roster"))
    }

    fn enrol(&self, to: &PeerAddress, petition: &Petition) -> Result<(), Refusal> {
        let call = self.client.enrol(to, petition.encode());
        settled(self.runtime.block_on(call)).map(drop)
    }

    fn digests(&self, to: &PeerAddress) -> Result<Digests, Refusal> {
        let ours = Digests {
            name: "mallory".to_owned(),
            projects: Vec::new(),
            roster: None,
            ..Digests::default()
        };
        settled(self.runtime.block_on(self.client.digests(to, &ours)))
    }
}

fn settled<T>(answer: Result<T, CallError>) -> Result<T, Refusal> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(CallError::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("no answer: {error}"),
    }
}

#[test]
fn a_ticket_brings_two_machines_together() {
    let mut fleet = strangers(3);
    let (mars, venus, titan) = (fleet.person(0), fleet.person(1), fleet.person(2));
    says(&done(mars.vigo(["envoy", "list"])).stdout, &["In no fleet"]);
    let first = ticket(&fleet, 0);
    let joined = done(venus.vigo(["join", &first]));
    says(&joined.stdout, &["venus is in a fleet with mars"]);
    wait_for_fleet(mars, &["mars", "venus"]);
    wait_for_fleet(venus, &["mars", "venus"]);
    // Whoever has heard no answer asks again.
    done(venus.vigo(["join", &first]));

    let said = fails(titan.vigo(["join", &first]), 12);
    says(&said, &["another envoy already", "vigo envoy ticket"]);
    let ended = done(mars.vigo(["envoy", "ticket", "--for", "1ms"]));
    let said = fails(titan.vigo(["join", ended.stdout.trim()]), 12);
    says(&said, &["the ticket has ended", "vigo envoy ticket"]);
    let said = fails(titan.vigo(["join", &first[..first.len() - 1]]), 2);
    says(&said, &["not a ticket", "not whole"]);
    let other = Ticket::new(
        fleet.envoy(0).key().parse().expect("a key"),
        [1; 16],
        &[fleet.envoy(0).address()],
    );
    let said = fails(titan.vigo(["join", &other.to_string()]), 12);
    says(&said, &["is not known here"]);
    let own = ticket(&fleet, 0);
    says(&fails(mars.vigo(["join", &own]), 2), &["of mars itself"]);
    let said = fails(venus.vigo(["envoy", "ticket"]), 12);
    says(&said, &["only mars gives out tickets"]);
    wait_for_fleet(mars, &["mars", "venus"]);

    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let pushed = push_all(fleet.person(0), &work);
    says(&pushed.stderr, &["replicated to 2 of 2 envoys"]);
    let status = done(fleet.person(1).vigo(["envoy", "status"]));
    says(&status.stdout, &["2 envoys; mars enrols"]);
}

#[test]
fn a_third_envoy_is_heard_of_by_itself_and_a_restart_keeps_the_fleet() {
    let mut fleet = strangers(3);
    let alone = card(&fleet, 2);
    assert_eq!((alone.fleet, alone.envoys), (None, 1));
    assert!(alone.may_enrol && alone.may_join && !alone.is_authority);
    join(&fleet, 1);
    let founder = card(&fleet, 0);
    assert!(founder.is_authority && founder.may_enrol && !founder.may_join);
    assert_eq!(founder.envoys, 2);
    let member = card(&fleet, 1);
    assert!(!member.is_authority && member.may_enrol && !member.may_join);
    assert_eq!(member.fleet, founder.fleet);

    // Titan talks to venus only, and venus asks mars.
    let enrolment = match enrol(&fleet, 1, 2) {
        Reply::Enrolled { enrolment, notes } => {
            says(&notes.join("\n"), &["titan is enrolled"]);
            enrolment
        }
        other => panic!("not enrolled: {other:?}"),
    };
    let joining = Request::JoinFleet { enrolment };
    refused(
        helper(
            &fleet,
            1,
            &Request::JoinFleet {
                enrolment: "00".into(),
            },
        ),
        1,
        &[],
    );
    match helper(&fleet, 2, &joining) {
        Reply::Accepted { notes, .. } => says(&notes.join("\n"), &["with mars, venus"]),
        other => panic!("not joined: {other:?}"),
    }
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &["mars", "titan", "venus"]);
    }
    // A ticket that was made before the restart is good after it.
    let kept = ticket(&fleet, 0);
    for index in 0..3 {
        fleet.envoy_mut(index).end().expect("ended");
    }
    for index in 0..3 {
        fleet.restart(index).expect("started");
    }
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &["mars", "titan", "venus"]);
    }
    done(fleet.person(1).vigo(["join", &kept]));
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let pushed = push_all(fleet.person(0), &work);
    says(&pushed.stderr, &["replicated to 3 of 3 envoys"]);
}

#[test]
fn a_removed_envoy_is_refused_at_once_and_hears_of_it() {
    let mut fleet = strangers(3);
    join(&fleet, 1);
    join(&fleet, 2);
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &["mars", "titan", "venus"]);
    }
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    let pushed = push_all(fleet.person(0), &work);
    says(&pushed.stderr, &["replicated to 3 of 3 envoys"]);

    // A connection that titan has with venus, and keeps.
    let titan = Hand::with(&secret_in(&fleet, 2, "envoy.key"));
    assert!(titan.digests(&place(&fleet, 1)).is_ok());
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    let said = fails(venus.vigo(["envoy", "remove", "titan", "--yes"]), 12);
    says(&said, &["only mars removes envoys"]);
    let said = fails(mars.vigo(["envoy", "remove", "mars", "--yes"]), 12);
    says(&said, &["cannot remove itself"]);
    fails(mars.vigo(["envoy", "remove", "pluto", "--yes"]), 10);
    let said = fails(mars.vigo(["envoy", "remove", "titan"]), 2);
    says(&said, &["--yes"]);
    let removed = done(mars.vigo(["envoy", "remove", "titan", "--yes"]));
    says(
        &removed.stdout,
        &["titan is of the fleet no longer", "ungrant"],
    );

    let told = until(SOON, "venus refuses titan", || {
        Ok(match titan.digests(&place(&fleet, 1)) {
            Err(refusal) if refusal.code == "removed" => Ok(()),
            other => Err(format!("{other:?}")),
        })
    });
    told.expect("refused on the same connection");
    for index in 0..3 {
        let heard = until(SOON, "the removal", || {
            let list = list(fleet.person(index));
            let gone = with("removed", &list) == ["titan"];
            Ok(if gone { Ok(()) } else { Err(list.to_string()) })
        });
        heard.expect("everybody hears of it, titan too");
    }
    let status = done(fleet.person(2).vigo(["envoy", "status"]));
    says(
        &status.stdout,
        &["this envoy was removed from it", "No peers"],
    );
    says(&status.stderr, &["titan was removed from the fleet"]);
    let card = card(&fleet, 2);
    assert!(!card.may_enrol && card.may_join && card.fleet.is_none());
    refused(enrol(&fleet, 2, 1), 12, &["titan was removed", "for good"]);
    refused(enrol(&fleet, 0, 2), 12, &["removed from this fleet"]);
    // Its key comes back by no ticket.
    let again = ticket(&fleet, 0);
    let said = fails(fleet.person(2).vigo(["join", &again]), 12);
    says(&said, &["removed from this fleet"]);

    commit(fleet.person(0), &work, "after");
    let pushed = push_all(fleet.person(0), &work);
    assert!(!pushed.stderr.contains("titan"), "{}", pushed.stderr);
}

#[test]
fn without_the_authority_the_fleet_works_and_takes_in_nobody() {
    let mut fleet = strangers(4);
    join(&fleet, 1);
    join(&fleet, 2);
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &["mars", "titan", "venus"]);
    }
    fleet.make_puddle("dan").expect("dan's puddle");
    fleet.envoy_mut(0).end().expect("ended");
    let said = until(SOON, "venus notices", || {
        Ok(match enrol(&fleet, 1, 3) {
            Reply::Failed(failure) => Ok(failure),
            other => Err(format!("{other:?}")),
        })
    });
    let said = said.expect("a refusal").to_string();
    says(
        &said,
        &[
            "mars, which enrols for this fleet, does not answer",
            "last seen",
            "start mars",
        ],
    );
    let work = fleet.dir().join("notes");
    let venus = fleet.person(1);
    gitback_tests::Shape::SMALL
        .write(venus, &work)
        .expect("a history");
    crate::world::found(venus, &work);
    let pushed = push_all(venus, &work);
    says(&pushed.stderr, &["replicated to 2 of 3 envoys"]);

    // And comes back to it.
    fleet.restart(0).expect("started");
    let enrolled = until(SOON, "mars is back", || {
        Ok(match enrol(&fleet, 1, 3) {
            Reply::Enrolled { enrolment, .. } => Ok(enrolment),
            other => Err(format!("{other:?}")),
        })
    });
    let enrolment = enrolled.expect("enrolled");
    match helper(&fleet, 3, &Request::JoinFleet { enrolment }) {
        Reply::Accepted { .. } => {}
        other => panic!("not joined: {other:?}"),
    }
    for index in 0..4 {
        wait_for_fleet(fleet.person(index), &["mars", "pluto", "titan", "venus"]);
    }
}

#[test]
fn an_envoy_leaves_no_fleet_with_others_for_another_one() {
    let fleet = strangers(4);
    join(&fleet, 1);
    // Titan and pluto are a fleet as well; before that, titan is one of its own.
    let theirs = ticket(&fleet, 2);
    let own = secret_in(&fleet, 2, "authority.key").public();
    assert!(card(&fleet, 2).may_join);
    done(fleet.person(3).vigo(["join", &theirs]));
    assert!(!card(&fleet, 2).may_join);

    let ours = ticket(&fleet, 0);
    for index in [2, 3] {
        let said = fails(fleet.person(index).vigo(["join", &ours]), 12);
        says(&said, &["another fleet, with", "vigo envoy remove"]);
    }
    assert_eq!(list(fleet.person(3))["fleet"], own.to_string());
    assert_eq!(list(fleet.person(2))["fleet"], own.to_string());

    // Without pluto the fleet of titan gives way; its key stays.
    done(fleet.person(2).vigo(["envoy", "remove", "pluto", "--yes"]));
    done(fleet.person(2).vigo(["join", &ticket(&fleet, 0)]));
    wait_for_fleet(fleet.person(2), &["mars", "titan", "venus"]);
    let aside: String = own.to_string().chars().take(12).collect();
    let old = std::fs::read(identity(&fleet, 2).join(format!("fleet-{aside}")));
    let old = Roster::decode(&old.expect("kept")).expect("a roster");
    assert_eq!((*old.authority(), old.removals().count()), (own, 1));
    let aside = secret_in(&fleet, 2, &format!("authority-{aside}.key"));
    assert_eq!(aside.public(), own);
    let said = fails(fleet.person(2).vigo(["envoy", "ticket"]), 12);
    says(&said, &["only mars"]);
}

#[test]
fn what_another_authority_has_signed_changes_nothing() {
    let fleet = strangers(2);
    join(&fleet, 1);
    wait_for_fleet(fleet.person(0), &["mars", "venus"]);
    let before = list(fleet.person(0));
    let authority: PublicKey = before["fleet"]
        .as_str()
        .expect("a fleet")
        .parse()
        .expect("a key");
    let (mine, mallory) = (
        SecretKey::from_seed(&[3; 32]),
        SecretKey::from_seed(&[4; 32]),
    );
    let key = EnvoyKey::new(mallory.public());
    let hand = Hand::with(&mallory);
    let mars = place(&fleet, 0);

    // A fleet of mallory's own.
    let own = Enrolment::sign(
        &mine,
        key,
        "mallory",
        Role::Member,
        u64::MAX,
        u64::MAX,
        None,
    );
    let mut foreign = Roster::new(mine.public());
    foreign.enrol(own.expect("a name")).expect("room");
    let refusal = hand.roster(&mars, &foreign).expect_err("refused");
    assert_eq!(refusal.code, "other-fleet");
    // The right fleet, but mallory is not of it.
    let nobody = Roster::new(authority);
    let refusal = hand.roster(&mars, &nobody).expect_err("refused");
    assert_eq!(refusal.code, "not-of-the-fleet");
    // A removal of venus, and an enrolment of mallory, that mallory has signed in the name of the authority.
    let mut bytes = foreign.encode();
    let sound = mine.public();
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(sound.as_bytes()) {
            bytes[at..at + 32].copy_from_slice(authority.as_bytes());
        }
    }
    let call = hand.client.roster(&mars, bytes);
    let refusal = settled(hand.runtime.block_on(call)).expect_err("refused");
    assert_eq!(refusal.code, "bad-signature");
    // Asking for oneself, without a ticket and with a wrong one, and at an envoy that is not the authority.
    let request = EnrolRequest::sign(&mallory, "mallory", &[], &CHALLENGE).expect("sound");
    let petition = |secret| Petition {
        request: request.clone(),
        challenge: CHALLENGE,
        secret,
    };
    let refusal = hand.enrol(&mars, &petition(None)).expect_err("refused");
    assert_eq!(refusal.code, "not-of-the-fleet");
    let refusal = hand.enrol(&mars, &petition(Some([1; 16])));
    assert_eq!(refusal.expect_err("refused").code, "wrong-challenge");
    let refusal = hand.enrol(&place(&fleet, 1), &petition(None));
    let refusal = refusal.expect_err("refused");
    assert_eq!(refusal.code, "not-the-authority");
    says(&refusal.reason, &["mars does", fleet.envoy(0).key()]);

    assert_eq!(with("enrolled", &list(fleet.person(0))), ["mars", "venus"]);
    assert_eq!(
        list(fleet.person(0))["envoys"].as_array().map(Vec::len),
        Some(2)
    );
    assert_eq!(
        hand.digests(&mars).expect_err("refused").code,
        "not-of-the-fleet"
    );
}

#[test]
fn two_envoys_of_one_name_are_told_apart_before_they_meet() {
    let fleet = strangers(1);
    let made: Ticket = ticket(&fleet, 0).parse().expect("a ticket");
    let (mars, mallory) = (place(&fleet, 0), SecretKey::from_seed(&[4; 32]));
    let hand = Hand::with(&mallory);
    let challenge = Ticket::challenge(made.secret());
    let petition = |name: &str| Petition {
        request: EnrolRequest::sign(&mallory, name, &[], &challenge).expect("sound"),
        challenge,
        secret: Some(*made.secret()),
    };
    let refusal = hand.enrol(&mars, &petition("mars")).expect_err("refused");
    assert_eq!(refusal.code, "name-taken");
    // The ticket was not used up by that.
    hand.enrol(&mars, &petition("mallory")).expect("enrolled");
    assert_eq!(
        with("enrolled", &list(fleet.person(0))),
        ["mallory", "mars"]
    );
    // Nor does it bring in anybody else, also not through whom it has brought in.
    let other = SecretKey::from_seed(&[5; 32]);
    let refusal = Hand::with(&other).enrol(&mars, &petition("mallory"));
    assert_eq!(refusal.expect_err("refused").code, "not-yours");
}

#[test]
fn an_authority_may_take_in_its_own_only() {
    let strict = options(3)
        .strangers()
        .more_settings("enrol_through = \"authority\"\n");
    let fleet = Fleet::start(strict).expect("the envoys start");
    join(&fleet, 1);
    assert!(card(&fleet, 0).may_enrol && !card(&fleet, 1).may_enrol);
    refused(
        enrol(&fleet, 1, 2),
        12,
        &["venus may not enrol others", "on mars: vigo envoy ticket"],
    );
    // Whoever does not keep to that is refused there as well.
    let venus = Hand::with(&secret_in(&fleet, 1, "envoy.key"));
    let titan = secret_in(&fleet, 2, "envoy.key");
    let request = EnrolRequest::sign(&titan, "titan", &[], &CHALLENGE).expect("sound");
    let petition = Petition {
        request,
        challenge: CHALLENGE,
        secret: None,
    };
    let refusal = venus.enrol(&place(&fleet, 0), &petition);
    assert_eq!(
        refusal.expect_err("refused").code,
        "enrol-through-authority"
    );
    assert!(matches!(enrol(&fleet, 0, 2), Reply::Enrolled { .. }));
}

#[test]
fn a_peer_of_the_configuration_that_is_removed_is_none_any_more() {
    let fleet = Fleet::start(options(2)).expect("the envoys start");
    join(&fleet, 1);
    wait_for_fleet(fleet.person(0), &["mars", "venus"]);
    done(fleet.person(0).vigo(["envoy", "remove", "venus", "--yes"]));
    let status = done(fleet.person(0).vigo(["envoy", "status"]));
    says(&status.stdout, &["No peers"]);
    let refusal = Hand::with(&secret_in(&fleet, 1, "envoy.key")).digests(&place(&fleet, 0));
    assert_eq!(refusal.expect_err("refused").code, "removed");
}

/// Writes what an envoy knows of a fleet: the roster, and where the others are.
fn write_fleet(fleet: &Fleet, index: usize, roster: &Roster) {
    let dir = fleet.envoy(index).root().join("var/lib/vigo/identity");
    std::fs::write(dir.join("fleet"), roster.encode()).expect("a roster");
    let mut places = Writer::default();
    places.array(1);
    places.array(2);
    let other = fleet.envoy(1 - index);
    let key: EnvoyKey = other.key().parse().expect("a key");
    places.bytes(key.as_bytes());
    places.array(1);
    places.text(&other.address());
    std::fs::write(dir.join("fleet-places"), places.finish()).expect("places");
}

#[test]
fn an_authority_that_comes_back_renews_what_has_ended() {
    let fleet = Fleet::prepare(options(2).strangers()).expect("two envoys");
    let authority = SecretKey::from_seed(&[6; 32]);
    let now = now_ms();
    let mut roster = Roster::new(authority.public());
    for (index, role) in [(0, Role::Authority), (1, Role::Member)] {
        let (envoy, name) = (fleet.envoy(index).key(), fleet.envoy(index).name());
        let envoy = envoy.parse().expect("a key");
        let (number, ended) = (now - 410 * DAY_MS, now - 10 * DAY_MS);
        let one = Enrolment::sign(&authority, envoy, name, role, number, ended, None);
        roster.enrol(one.expect("a name")).expect("room");
    }
    write_fleet(&fleet, 0, &roster);
    write_fleet(&fleet, 1, &roster);
    let mut fleet = fleet;
    let started = fleet.restart(1);
    started.expect("venus starts");
    let said = done(fleet.person(1).vigo(["envoy", "list"]));
    says(&said.stdout, &["expired"]);
    says(&said.stderr, &["the enrolment of venus has ended"]);
    let card = card(&fleet, 1);
    assert!(!card.may_enrol && card.envoys == 1);

    let key = format!("{}\n", hex::encode(authority.seed()));
    let file = fleet
        .envoy(0)
        .root()
        .join("var/lib/vigo/identity/authority.key");
    std::fs::write(file, key).expect("a key");
    fleet.restart(0).expect("mars starts");
    for index in [0, 1] {
        wait_for_fleet(fleet.person(index), &["mars", "venus"]);
        let list = list(fleet.person(index));
        for one in list["envoys"].as_array().expect("a list") {
            let left = one["expires_ms"].as_u64().expect("an end") - now;
            assert!((399 * DAY_MS..401 * DAY_MS).contains(&left), "{one}");
        }
    }
    let status = done(fleet.person(1).vigo(["envoy", "status"]));
    assert!(!status.stderr.contains("warning"), "{}", status.stderr);
}

pub(crate) fn identity(fleet: &Fleet, index: usize) -> std::path::PathBuf {
    fleet.envoy(index).root().join("var/lib/vigo/identity")
}

/// When the envoy `index` has last heard of the envoy `name`.
fn last_seen_ms(fleet: &Fleet, index: usize, name: &str) -> Option<u64> {
    let list = list(fleet.person(index));
    let envoys = list["envoys"].as_array().expect("a list");
    let one = envoys.iter().find(|one| one["name"] == name);
    one.and_then(|one| one["last_seen_ms"].as_u64())
}

/// Waits until two envoys have compared what they hold so often that each has seen what the other one has.
pub(crate) fn let_them_compare(fleet: &Fleet, (one, other): (usize, usize), times: usize) {
    for (index, with) in [(one, other), (other, one)] {
        for _ in 0..times {
            let name = fleet.envoy(with).name();
            let before = last_seen_ms(fleet, index, name);
            let compared = until(SOON, "a comparison", || {
                let now = last_seen_ms(fleet, index, name);
                Ok(if now > before {
                    Ok(())
                } else {
                    Err(format!("{now:?}"))
                })
            });
            compared.expect("they compare");
        }
    }
}

#[test]
fn a_removal_reaches_an_envoy_whose_disk_was_full_when_it_was_told() {
    let mut fleet = strangers(3);
    join(&fleet, 1);
    join(&fleet, 2);
    for index in 0..3 {
        wait_for_fleet(fleet.person(index), &["mars", "titan", "venus"]);
    }
    let titan = Hand::with(&secret_in(&fleet, 2, "envoy.key"));
    fleet.envoy_mut(2).end().expect("ended");
    let full = identity(&fleet, 1).join("fleet.new");
    std::fs::create_dir(&full).expect("in the way");
    done(fleet.person(0).vigo(["envoy", "remove", "titan", "--yes"]));
    let_them_compare(&fleet, (0, 1), 2);
    assert!(with("removed", &list(fleet.person(1))).is_empty());
    std::fs::remove_dir(&full).expect("out of the way");
    let told = until(SOON, "venus refuses titan", || {
        Ok(match titan.digests(&place(&fleet, 1)) {
            Err(refusal) if refusal.code == "removed" => Ok(()),
            other => Err(format!("{other:?}")),
        })
    });
    told.expect("venus hears of it");
    assert_eq!(with("removed", &list(fleet.person(1))), ["titan"]);
}

/// What a user of this machine with whom the daemon shares nothing is told who has the envoy `index` join a fleet.
fn join_as_somebody(fleet: &Fleet, programs: &Binaries, index: usize, ticket: &str) -> Outcome {
    let root = fleet.envoy(index).root();
    let mut dir = root.join("var/run/vigo");
    while dir.starts_with(fleet.dir()) {
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("opened");
        dir.pop();
    }
    let root = root.to_string_lossy().into_owned();
    let ids = ["--reuid", USER, "--regid", USER, "--clear-groups", "--"];
    let joining = Invocation::new(programs.vigo(), ["--root", &root, "join", ticket]);
    let joined = joining.env("HOME", "/tmp").under("/usr/bin/setpriv", ids);
    joined.run().expect("it runs")
}

/// A user whom the envoys serve.
const USER: &str = "4711";

#[test]
fn a_user_who_does_not_administer_an_envoy_takes_nobody_elses_away() {
    if !Path::new("/usr/bin/setpriv").exists() || !rustix::process::geteuid().is_root() {
        return;
    }
    let served = options(4).strangers();
    let served = served.more_settings("allow_uids = [4711]\n");
    let mut fleet = Fleet::start(served).expect("the envoys start");
    fleet.make_puddle("dan").expect("dan's puddle");
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    let hostile = ticket(&fleet, 3);
    let programs = crate::world::binaries().copied_to(&fleet.dir().join("bin"));
    let programs = programs.expect("programs for all");
    // Mars holds a project, venus was in a fleet, and titan is new.
    join(&fleet, 1);
    wait_for_fleet(fleet.person(1), &["mars", "venus"]);
    done(fleet.person(0).vigo(["envoy", "remove", "venus", "--yes"]));
    for index in [0, 1] {
        let refused = join_as_somebody(&fleet, &programs, index, &hostile);
        assert_eq!(refused.code, Some(12), "{refused}");
        says(&refused.stderr, &["user 4711 may not take", "root"]);
    }
    let joined = join_as_somebody(&fleet, &programs, 2, &hostile);
    assert_eq!(joined.code, Some(0), "{joined}");
    let status = done(fleet.person(3).vigo(["envoy", "status"]));
    says(&status.stdout, &["Projects  0"]);
}

#[test]
fn an_authority_that_lost_its_roster_does_not_found_the_same_fleet_again() {
    let mut fleet = strangers(2);
    join(&fleet, 1);
    wait_for_fleet(fleet.person(0), &["mars", "venus"]);
    fleet.envoy_mut(1).end().expect("ended");
    done(fleet.person(0).vigo(["envoy", "remove", "venus", "--yes"]));
    let venus = Hand::with(&secret_in(&fleet, 1, "envoy.key"));
    let own = secret_in(&fleet, 0, "authority.key").public();
    fleet.envoy_mut(0).end().expect("ended");
    let file = identity(&fleet, 0).join("fleet");
    std::fs::write(&file, "damaged").expect("written");
    let said = format!("{:#}", fleet.restart(0).expect_err("damaged"));
    says(&said, &["fleet is damaged", "put back a copy"]);
    std::fs::remove_file(&file).expect("moved away, whatever it says");
    fleet.restart(0).expect("started");
    drop(ticket(&fleet, 0));

    // Venus brings a roster of the time before its removal.
    let bytes = std::fs::read(identity(&fleet, 1).join("fleet")).expect("venus's roster");
    let old = Roster::decode(&bytes).expect("a roster");
    assert_eq!(*old.authority(), own);
    let refusal = venus.roster(&place(&fleet, 0), &old).expect_err("refused");
    assert_eq!(refusal.code, "other-fleet");
    let refusal = venus.digests(&place(&fleet, 0)).expect_err("refused");
    assert_eq!(refusal.code, "not-of-the-fleet");
    let aside: String = own.to_string().chars().take(12).collect();
    let aside = secret_in(&fleet, 0, &format!("authority-{aside}.key"));
    assert_eq!(aside.public(), own);
    assert_ne!(secret_in(&fleet, 0, "authority.key").public(), own);
}

/// Has the envoy of `hand` ask for another one: the one whose secret key is `secret`.
fn bring_in(fleet: &Fleet, hand: &Hand, secret: &SecretKey, name: &str) -> Result<(), Refusal> {
    let request = EnrolRequest::sign(secret, name, &[], &CHALLENGE).expect("sound");
    let petition = Petition {
        request,
        challenge: CHALLENGE,
        secret: None,
    };
    hand.enrol(&place(fleet, 0), &petition)
}

#[test]
fn a_member_brings_in_few_others_and_they_go_with_it() {
    let fleet = strangers(2);
    join(&fleet, 1);
    let venus = Hand::with(&secret_in(&fleet, 1, "envoy.key"));
    let sybil = |seed: u8| SecretKey::from_seed(&[seed; 32]);
    for seed in 1..=8 {
        bring_in(&fleet, &venus, &sybil(seed), &format!("s{seed}")).expect("room");
    }
    // As often as it likes for those that are in.
    bring_in(&fleet, &venus, &sybil(1), "s1").expect("in it already");
    let refusal = bring_in(&fleet, &venus, &sybil(9), "s9").expect_err("refused");
    assert_eq!(refusal.code, "enrol-limit");
    says(&refusal.reason, &["8 envoys", "through venus"]);
    let eighth = Hand::with(&sybil(8));
    bring_in(&fleet, &eighth, &sybil(9), "s9").expect("through another one");

    let mars = fleet.person(0);
    let listed = list(mars);
    let named = |name: &str| -> Value {
        let envoys = listed["envoys"].as_array().expect("a list");
        let one = envoys.iter().find(|one| one["name"] == name);
        one.expect("it is listed")["through"].clone()
    };
    assert_eq!(named("s1"), fleet.envoy(1).key());
    assert_eq!(named("s9"), sybil(8).public().to_string());
    assert!(named("venus").is_null() && named("mars").is_null());
    let shown = done(mars.vigo(["envoy", "list"]));
    says(
        &shown.stdout,
        &["enrolled through venus", "enrolled through s8"],
    );

    let removed = done(mars.vigo(["envoy", "remove", "s8", "--yes"]));
    says(
        &removed.stdout,
        &["came in through s8", "vigo envoy remove s9"],
    );
    let all = ["envoy", "remove", "venus", "--with-brought-in", "--yes"];
    let removed = done(mars.vigo(all));
    says(
        &removed.stdout,
        &["venus is of the fleet no longer", "s7 is"],
    );
    assert_eq!(with("enrolled", &list(mars)), ["mars", "s9"]);
    let first = Hand::with(&sybil(1));
    let refusal = first.digests(&place(&fleet, 0)).expect_err("refused");
    assert_eq!(refusal.code, "removed");
}

/// Starts an authority whose own enrolment is like this, once its clock is right.
fn authority_with(number: u64, expires_ms: u64) -> Fleet {
    let mut fleet = strangers(1);
    drop(ticket(&fleet, 0));
    fleet.envoy_mut(0).end().expect("ended");
    let authority = secret_in(&fleet, 0, "authority.key");
    let me = fleet.envoy(0).key().parse().expect("a key");
    let own = Enrolment::sign(
        &authority,
        me,
        "mars",
        Role::Authority,
        number,
        expires_ms,
        None,
    );
    let mut roster = Roster::new(authority.public());
    roster.enrol(own.expect("a name")).expect("room");
    std::fs::write(identity(&fleet, 0).join("fleet"), roster.encode()).expect("written");
    fleet.restart(0).expect("started");
    fleet
}

/// Waits until the enrolment of an authority ends in about 400 days.
#[track_caller]
fn wait_for_renewal(fleet: &Fleet) {
    let right = now_ms() + 399 * DAY_MS..now_ms() + 402 * DAY_MS;
    let renewed = until(SOON, "the renewal", || {
        let list = list(fleet.person(0));
        let ends = list["envoys"][0]["expires_ms"].as_u64().expect("an end");
        Ok(if right.contains(&ends) {
            Ok(())
        } else {
            Err(list.to_string())
        })
    });
    renewed.expect("renewed");
}

#[test]
fn what_was_signed_while_the_clock_was_behind_is_renewed() {
    // One more than a number of the right clock; 400 days after 1970.
    wait_for_renewal(&authority_with(now_ms(), 400 * DAY_MS));
}

#[test]
fn what_was_signed_after_the_clock_was_ahead_is_renewed() {
    let number = now_ms() + 3_650 * DAY_MS;
    wait_for_renewal(&authority_with(number, now_ms() - 30 * DAY_MS));
}

#[test]
fn nothing_is_signed_by_a_clock_that_is_behind_until_somebody_says_it_is_right() {
    let signed = now_ms() + 100 * DAY_MS;
    let fleet = authority_with(signed, signed + 400 * DAY_MS);
    let made: Ticket = ticket(&fleet, 0).parse().expect("a ticket");
    let mallory = SecretKey::from_seed(&[4; 32]);
    let challenge = Ticket::challenge(made.secret());
    let petition = Petition {
        request: EnrolRequest::sign(&mallory, "mallory", &[], &challenge).expect("sound"),
        challenge,
        secret: Some(*made.secret()),
    };
    let hand = Hand::with(&mallory);
    let refusal = hand.enrol(&place(&fleet, 0), &petition);
    let refusal = refusal.expect_err("refused");
    assert_eq!(refusal.code, "wrong-clock");
    says(&refusal.reason, &["days behind the newest enrolment"]);

    let trust = identity(&fleet, 0).join("clock-is-right");
    std::fs::write(&trust, "").expect("written");
    wait_for_renewal(&fleet);
    hand.enrol(&place(&fleet, 0), &petition).expect("enrolled");
    let gone = until(SOON, "the file is removed", || {
        Ok(if trust.exists() {
            Err(String::new())
        } else {
            Ok(())
        })
    });
    gone.expect("it has done its work");
}

#[test]
fn asking_again_for_who_is_in_signs_nothing() {
    let fleet = strangers(1);
    let made: Ticket = ticket(&fleet, 0).parse().expect("a ticket");
    let mallory = SecretKey::from_seed(&[9; 32]);
    let challenge = Ticket::challenge(made.secret());
    let petition = Petition {
        request: EnrolRequest::sign(&mallory, "mallory", &[], &challenge).expect("sound"),
        challenge,
        secret: Some(*made.secret()),
    };
    let hand = Hand::with(&mallory);
    hand.enrol(&place(&fleet, 0), &petition).expect("enrolled");
    let shown = |hand: &Hand| hand.digests(&place(&fleet, 0)).expect("an answer").roster;
    let first = shown(&hand);
    for _ in 0..20 {
        hand.enrol(&place(&fleet, 0), &petition).expect("again");
    }
    assert_eq!(shown(&hand), first);
}

#[test]
fn a_removal_ends_the_tickets_that_the_removed_one_may_know() {
    let fleet = strangers(1);
    let by = |text: &str, seed: u8, name: &str| {
        let made: Ticket = text.parse().expect("a ticket");
        let secret = SecretKey::from_seed(&[seed; 32]);
        let challenge = Ticket::challenge(made.secret());
        let request = EnrolRequest::sign(&secret, name, &[], &challenge);
        let petition = Petition {
            request: request.expect("sound"),
            challenge,
            secret: Some(*made.secret()),
        };
        Hand::with(&secret).enrol(&place(&fleet, 0), &petition)
    };
    let (first, second) = (ticket(&fleet, 0), ticket(&fleet, 0));
    by(&first, 9, "mallory").expect("enrolled");
    by(&second, 9, "mallory").expect("it is in, and the ticket stays good");
    let mars = fleet.person(0);
    let removed = done(mars.vigo(["envoy", "remove", "mallory", "--yes"]));
    says(
        &removed.stdout,
        &["1 ticket has ended", "vigo envoy ticket"],
    );
    let refusal = by(&second, 8, "mallory").expect_err("refused");
    assert_eq!(refusal.code, "ticket-unknown");

    // Also where another machine that holds the key has removed one.
    let third = ticket(&fleet, 0);
    by(&third, 9, "mallory").expect_err("that key is of no use");
    let authority = secret_in(&fleet, 0, "authority.key");
    let gone = EnvoyKey::new(SecretKey::from_seed(&[7; 32]).public());
    let mut theirs = Roster::new(authority.public());
    let removal = Removal::sign(&authority, gone, "eve", 1).expect("a name");
    theirs.remove(removal).expect("room");
    let venus = SecretKey::from_seed(&[6; 32]);
    let fourth = ticket(&fleet, 0);
    by(&fourth, 6, "venus").expect("enrolled");
    let told = Hand::with(&venus).roster(&place(&fleet, 0), &theirs);
    told.expect("an answer");
    let refusal = by(&third, 5, "eve").expect_err("refused");
    assert_eq!(refusal.code, "ticket-unknown");
    by(&fourth, 6, "venus").expect("it may not have heard the answer");
}

#[test]
fn a_ticket_that_was_used_while_the_disk_was_full_brings_in_one_envoy() {
    let mut fleet = strangers(1);
    let made: Ticket = ticket(&fleet, 0).parse().expect("a ticket");
    let by = |seed: u8| {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let challenge = Ticket::challenge(made.secret());
        let request = EnrolRequest::sign(&secret, &format!("m{seed}"), &[], &challenge);
        let petition = Petition {
            request: request.expect("sound"),
            challenge,
            secret: Some(*made.secret()),
        };
        (Hand::with(&secret), petition)
    };
    let ((one, first), (two, second)) = (by(1), by(2));
    let full = identity(&fleet, 0).join("tickets.new");
    std::fs::create_dir(&full).expect("in the way");
    let refusal = one.enrol(&place(&fleet, 0), &first);
    assert_eq!(refusal.expect_err("refused").code, "fault");
    std::fs::remove_dir(&full).expect("out of the way");
    one.enrol(&place(&fleet, 0), &first).expect("enrolled");
    fleet.envoy_mut(0).end().expect("ended");
    fleet.restart(0).expect("started");
    let refusal = two.enrol(&place(&fleet, 0), &second);
    assert_eq!(refusal.expect_err("refused").code, "ticket-used");
}
