//! Members, readers and those whose membership ended: what a local user gets, and what another envoy gets for them.

use std::io::{Read, Write as _};
use std::net::Shutdown;

use gitback_envelope::{Act, Envelope, Verified};
use gitback_helper::{Failure, Reply, Request, Role, Scope, Service, Wish};
use gitback_identity::{EnvoyKey, SecretKey, hex};
use gitback_peer::{CallError, PushAnswer, Refusal};

use crate::world::{World, main_at, seal, sign};

fn alice() -> SecretKey {
    SecretKey::from_seed(&[21; 32])
}

fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => failure,
        other => panic!("must be refused: {other:?}"),
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Refusal {
    match answer {
        Err(CallError::Refused(refusal)) => refusal,
        other => panic!("must be refused: {other:?}"),
    }
}

fn join() -> Wish {
    Wish::Join { invitation: None }
}

fn revoke(who: &SecretKey) -> Wish {
    Wish::Revoke {
        puddle: who.public().to_string(),
    }
}

fn swarm() -> Wish {
    Wish::Policy {
        scope: Scope::Swarm,
        protected: Vec::new(),
        replicas: None,
    }
}

#[test]
fn who_is_invited_joins_with_a_signature_and_is_served() {
    let world = World::new();
    world.found();
    let refused = failure(world.open(&alice(), Service::UploadPack));
    assert_eq!(refused.code, 12, "{refused}");
    assert!(
        refused
            .why
            .expect("a reason")
            .contains("not-member, rule 7")
    );
    world.invite(&alice(), Role::Member);
    let refused = failure(world.open(&alice(), Service::UploadPack));
    assert!(
        refused.hints[0].contains("project join"),
        "nobody joins unasked: {refused}"
    );
    let joined = world.draft(&alice(), join());
    let kinds: Vec<_> = joined
        .iter()
        .map(|one| one.statement().act.kind())
        .collect();
    assert_eq!(kinds, ["join.v1", "grant.v1"]);
    let token = world.submit(&joined.iter().collect::<Vec<_>>());
    assert!(token.is_some(), "it proves the grant");
    for service in [Service::UploadPack, Service::ReceivePack] {
        assert!(matches!(world.open(&alice(), service), Reply::Ready));
    }
    let status = world.status().expect("founded");
    assert_eq!(
        (status.members, status.access.as_deref()),
        (2, Some("member"))
    );
    assert_eq!(status.member_list[0].state, "live");
}

#[test]
fn a_reader_may_fetch_and_not_push() {
    let world = World::new();
    world.found();
    world.invite(&alice(), Role::Reader);
    world.fulfil(&alice(), join());
    assert!(matches!(
        world.open(&alice(), Service::UploadPack),
        Reply::Ready
    ));
    let refused = failure(world.open(&alice(), Service::ReceivePack));
    assert!(refused.what.contains("may fetch and not push"), "{refused}");
    assert!(refused.why.expect("a proof").contains("reader, rule 7"));
    // Invited again as a member, a push asks for the signature that makes it one.
    world.invite(&alice(), Role::Member);
    let reply = world.open(&alice(), Service::ReceivePack);
    let Reply::NeedSignature { drafts, .. } = reply else {
        panic!("a join: {reply:?}");
    };
    world.submit(&sign(&drafts, &alice()).iter().collect::<Vec<_>>());
    assert!(matches!(
        world.open(&alice(), Service::ReceivePack),
        Reply::Ready
    ));
}

#[test]
fn whose_membership_ended_is_told_when_and_by_whom() {
    let world = World::new();
    world.found();
    world.invite(&alice(), Role::Member);
    world.fulfil(&alice(), join());
    let ended = world.fulfil(&world.founder, revoke(&alice())).remove(0);
    let refused = failure(world.open(&alice(), Service::UploadPack));
    assert!(refused.what.contains("'s access ended"), "{refused}");
    let founder = world.puddle().fingerprint().to_string();
    assert!(refused.what.contains(&founder), "{refused}");
    let proof = format!("revoked, rule 7, envelope {}", ended.id());
    assert_eq!(refused.why.as_deref(), Some(proof.as_str()));
}

#[test]
fn only_the_founder_invites_and_a_batch_that_would_not_count_changes_nothing() {
    let world = World::new();
    let init = world.found();
    world.invite(&alice(), Role::Member);
    world.fulfil(&alice(), join());
    let before = world.status().expect("founded").envelopes;
    let carol = SecretKey::from_seed(&[22; 32]);
    let wish = Wish::Invite {
        puddle: carol.public().to_string(),
        role: Role::Member,
    };
    let refused = failure(world.wish(&alice(), wish));
    assert!(
        refused
            .why
            .expect("a proof")
            .contains("not-founder, rule 6")
    );
    // Made by a program of her own, in its place on her chain, behind a good one.
    let grant = world.draft(&alice(), Wish::Grant).remove(0);
    let mut statement = grant.statement().clone();
    statement.seq += 1;
    statement.prev = Some(*grant.id());
    statement.deps = Vec::new();
    statement.act = Act::Invite(gitback_envelope::Invite {
        puddle: gitback_identity::PuddleKey::new(carol.public()),
        role: gitback_envelope::Role::Member,
    });
    let invite = seal(statement, &alice());
    let refused = failure(world.try_submit(&[&grant, &invite]));
    let proof = format!("not-founder, rule 6, envelope {}", invite.id());
    assert_eq!(refused.why.as_deref(), Some(proof.as_str()));
    let after = world.status().expect("founded");
    assert_eq!((after.envelopes, after.void), (before, 0));
    assert!(matches!(
        world.try_submit(&[&grant]),
        Reply::Accepted { .. }
    ));
    drop(init);
}

#[test]
fn what_follows_a_revocation_is_kept_and_neither_moves_refs_nor_brings_objects() {
    let world = World::new();
    world.found();
    world.fulfil(&world.founder, swarm());
    world.invite(&alice(), Role::Member);
    let joined = world.fulfil(&alice(), join());
    let grant = world.grant_by(&alice(), &world.peer, &[&joined[1]]);
    let (oids, packs) = world.history(2);
    let first = world.update_for(
        &alice(),
        &world.peer,
        0,
        &[&grant],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    let answer = world.push(&world.peer, &[&grant, &first], Some(&packs[0]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    world.fulfil(&world.founder, revoke(&alice()));
    let second = world.update_for(
        &alice(),
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[1])),
    );
    let refused = refusal(world.push(&world.peer, &[&second], Some(&packs[1])));
    assert_eq!(refused.code, "revoked");
    for part in [second.id().to_string(), "rule 7".to_owned()] {
        assert!(refused.reason.contains(&part), "{}", refused.reason);
    }
    let status = world.status().expect("founded");
    assert_eq!(
        status.ref_list[0].oid,
        oids[0].to_string(),
        "what came before counts"
    );
    assert_eq!(status.void, 1);
    assert_eq!(world.packs(), 1);
    let entry = world.log().pop().expect("it is shown");
    assert_eq!(entry.id, second.id().to_string());
    assert_eq!((entry.verdict.as_str(), entry.rule), ("void", Some(7)));
}

#[test]
fn a_push_that_was_begun_before_a_revocation_is_refused_when_it_is_to_be_signed() {
    let world = World::new();
    world.found();
    world.invite(&alice(), Role::Member);
    world.fulfil(&alice(), join());
    let (oids, packs) = world.history(1);
    let mut stream = world.stream(&alice(), Service::ReceivePack);
    let shown = read_to_flush(&mut stream);
    assert!(shown.contains("report-status"), "{shown}");
    let ended = world.fulfil(&world.founder, revoke(&alice())).remove(0);
    let command = format!(
        "{} {} refs/heads/main\0 report-status",
        "0".repeat(40),
        oids[0]
    );
    let request = format!("{:04x}{command}0000", command.len() + 4);
    stream.write_all(request.as_bytes()).expect("it listens");
    stream.write_all(&packs[0].bytes()).expect("it listens");
    stream.shutdown(Shutdown::Write).expect("it is open");
    let report = read_to_flush(&mut stream);
    assert!(report.contains("ng refs/heads/main"), "{report}");
    for part in [
        "'s access ended",
        "revoked, rule 7",
        &ended.id().to_string(),
    ] {
        assert!(report.contains(part), "{report}");
    }
    assert_eq!(world.status().expect("founded").refs, 0);
    assert_eq!(world.packs(), 0);
}

/// Reads packets until the flush packet.
fn read_to_flush(stream: &mut impl Read) -> String {
    let mut text = String::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("a packet");
        let length = std::str::from_utf8(&length).expect("digits");
        let length = usize::from_str_radix(length, 16).expect("digits");
        let Some(length) = length.checked_sub(4) else {
            return text;
        };
        let mut packet = vec![0; length];
        stream.read_exact(&mut packet).expect("the rest of it");
        text.push_str(&String::from_utf8_lossy(&packet));
    }
}

/// A project in which alice's envoy has moved main twice, and a revocation that knows the first move only.
fn undone(world: &World) -> (Verified, Vec<gitback_envelope::Oid>) {
    world.found();
    world.fulfil(&world.founder, swarm());
    world.invite(&alice(), Role::Member);
    let joined = world.fulfil(&alice(), join());
    let grant = world.grant_by(&alice(), &world.peer, &[&joined[1]]);
    let (oids, packs) = world.history(2);
    let first = world.update_for(
        &alice(),
        &world.peer,
        0,
        &[&grant],
        main_at(oids[0], &[], Some(&packs[0])),
    );
    let answer = world.push(&world.peer, &[&grant, &first], Some(&packs[0]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    let ended = world.draft(&world.founder, revoke(&alice()));
    let second = world.update_for(
        &alice(),
        &world.peer,
        1,
        &[&first],
        main_at(oids[1], &[&first], Some(&packs[1])),
    );
    let answer = world.push(&world.peer, &[&second], Some(&packs[1]));
    assert!(
        matches!(answer, Ok(PushAnswer::Durable { .. })),
        "{answer:?}"
    );
    world.submit(&ended.iter().collect::<Vec<_>>());
    (second, oids)
}

#[test]
fn refs_go_back_when_a_revocation_arrives_and_objects_stay_under_a_hidden_name() {
    let mut world = World::new();
    let (second, oids) = undone(&world);
    let main = format!("refs/heads/main {}", oids[0]);
    let hidden = format!("refs/gitback/void/{}/{} {}", second.id(), oids[1], oids[1]);
    assert_eq!(world.refs(), [hidden.clone(), main.clone()]);
    let status = world.status().expect("founded");
    assert_eq!((status.refs, status.void), (1, 1));
    assert_eq!(status.state, "current");
    world.restart(|_| ());
    assert_eq!(world.refs(), [hidden, main]);
}

#[test]
fn a_project_of_members_goes_to_an_envoy_that_proves_its_grant() {
    let world = World::new();
    world.found();
    let invite = world.invite(&alice(), Role::Member);
    let laptop = SecretKey::from_seed(&[40; 32]);
    let key = EnvoyKey::new(laptop.public());
    assert_eq!(
        refusal(world.sync(&laptop, &[])).code,
        "not-of-the-fleet",
        "nobody has granted it"
    );
    let join = world.say(
        &alice(),
        key,
        &[&invite],
        Act::Join {
            invite: *invite.id(),
        },
    );
    let mut statement = world
        .grant_by(&alice(), &laptop, &[&join])
        .statement()
        .clone();
    (statement.seq, statement.prev) = (1, statement.deps.pop());
    let grant = seal(statement, &alice());
    assert_eq!(
        refusal(world.sync(&laptop, &[&grant])).code,
        "token-incomplete"
    );
    assert_eq!(
        refusal(world.sync(&laptop, &[&join])).code,
        "token-no-grant"
    );
    assert_eq!(
        world.status().expect("founded").envelopes,
        2,
        "nothing changed"
    );
    let answer = world.sync(&laptop, &[&join, &grant]).expect("let in");
    assert_eq!(answer.envelopes.len(), 4);
    assert!(world.sync(&laptop, &[]).is_ok(), "from now on it is known");
    // By another's envoy, the same proof proves nothing.
    let thief = SecretKey::from_seed(&[41; 32]);
    assert_eq!(
        refusal(world.sync(&thief, &[&join, &grant])).code,
        "token-no-grant"
    );
}

#[test]
fn an_envoy_whose_part_has_ended_is_told_what_ended_it_and_no_more() {
    let world = World::new();
    world.found();
    world.invite(&alice(), Role::Member);
    let joined = world.fulfil(&alice(), join());
    let laptop = SecretKey::from_seed(&[40; 32]);
    let grant = world.grant_by(&alice(), &laptop, &[&joined[1]]);
    world.sync(&laptop, &[&grant]).expect("let in");
    let ended = world.fulfil(&world.founder, revoke(&alice())).remove(0);
    let carol = SecretKey::from_seed(&[22; 32]);
    let secret = world.invite(&carol, Role::Member);
    let told = world.sync(&laptop, &[]).expect("it is told");
    let told: Vec<_> = told
        .envelopes
        .iter()
        .map(|bytes| {
            let envelope = Envelope::decode(bytes).and_then(Envelope::verify);
            *envelope.expect("sound").id()
        })
        .collect();
    assert!(told.contains(ended.id()));
    assert!(!told.contains(secret.id()), "what came later is not for it");
    let refused = refusal(world.push(&laptop, &[&secret], None));
    assert_eq!(refused.code, "revoked");
    assert!(refused.reason.contains(&ended.id().to_string()));
}

#[test]
fn an_envoy_whose_part_has_ended_may_bring_the_request_to_come_back() {
    let world = World::new();
    world.found();
    let invite = world.invite(&alice(), Role::Member);
    let joined = world.fulfil(&alice(), join());
    let laptop = SecretKey::from_seed(&[40; 32]);
    let key = EnvoyKey::new(laptop.public());
    let grant = world.grant_by(&alice(), &laptop, &[&joined[1]]);
    world.sync(&laptop, &[&grant]).expect("let in");
    let left = world.fulfil(&alice(), Wish::Leave).remove(0);
    let invite = *invite.id();
    let mut statement = grant.statement().clone();
    statement.seq = 1;
    statement.prev = Some(*grant.id());
    statement.deps = vec![*left.id()];
    statement.act = Act::Rejoin { invite };
    let request = seal(statement, &alice());
    assert_eq!(request.statement().envoy, Some(key));
    for _ in 0..2 {
        let answer = world.push(&laptop, &[&request], None);
        assert!(
            matches!(answer, Ok(PushAnswer::Durable { .. })),
            "{answer:?}"
        );
    }
    assert!(world.status().expect("founded").member_list[0].asks_back);
    // It is no more than before by it, and others cannot bring it.
    let refused = refusal(world.push(&laptop, &[&grant], None));
    assert_eq!(refused.code, "left");
    let other = SecretKey::from_seed(&[41; 32]);
    let refused = refusal(world.push(&other, &[&request], None));
    assert_eq!(refused.code, "not-of-the-fleet");
}

#[test]
fn a_grant_is_renewed_after_half_of_its_life_and_missing_ones_are_made() {
    let world = World::new();
    world.found();
    let due = |puddle: &SecretKey| {
        let request = Request::Renewals {
            puddle: puddle.public().to_string(),
        };
        match world.call(&request) {
            Reply::Renewals { items } => items,
            other => panic!("renewals: {other:?}"),
        }
    };
    let items = due(&world.founder);
    assert_eq!(items.len(), 1, "the founder has no grant here yet");
    assert!(due(&alice()).is_empty());
    let sealed = sign(&items[0].drafts, &world.founder);
    let act = sealed[0].statement().grant().cloned().expect("a grant");
    // The same as it would look after more than half of its life.
    let mut statement = sealed[0].statement().clone();
    let month_ms = 30 * 24 * 3600 * 1000;
    statement.act = Act::Grant(gitback_envelope::Grant {
        expires_ms: act.expires_ms.map(|at| at - 2 * month_ms),
        ..act
    });
    let ageing = seal(statement, &world.founder);
    world.submit(&[&ageing]);
    let items = due(&world.founder);
    assert_eq!(items.len(), 1, "it has less than half left");
    let sealed = sign(&items[0].drafts, &world.founder);
    world.submit(&sealed.iter().collect::<Vec<_>>());
    assert!(due(&world.founder).is_empty());
}

#[test]
fn an_expired_grant_serves_nobody_and_asks_for_a_new_one() {
    let world = World::new();
    world.found();
    let grant = world.draft(&world.founder, Wish::Grant).remove(0);
    let mut statement = grant.statement().clone();
    if let Act::Grant(grant) = &mut statement.act {
        grant.expires_ms = Some(1);
    }
    world.submit(&[&seal(statement, &world.founder)]);
    let reply = world.open(&world.founder, Service::UploadPack);
    assert!(matches!(reply, Reply::NeedSignature { .. }), "{reply:?}");
}

#[test]
fn an_ended_project_sends_people_to_the_one_that_took_its_place() {
    let world = World::new();
    world.found();
    world.fulfil(&world.founder, Wish::Grant);
    let heir = SecretKey::from_seed(&[30; 32]);
    world.fulfil(
        &world.founder,
        Wish::Tombstone {
            founder: heir.public().to_string(),
            handle: "notes".to_owned(),
        },
    );
    let reply = world.open(&world.founder, Service::UploadPack);
    let Reply::Moved {
        founder, handle, ..
    } = reply
    else {
        panic!("it has moved: {reply:?}");
    };
    assert_eq!(
        (founder, handle),
        (heir.public().to_string(), "notes".to_owned())
    );
    let refused = failure(world.wish(&world.founder, swarm()));
    assert!(
        refused
            .why
            .expect("a proof")
            .contains("project-ended, rule 11")
    );
}

#[test]
fn a_leave_that_waits_in_a_file_is_taken_at_the_start() {
    let mut world = World::new();
    world.found();
    world.invite(&alice(), Role::Member);
    world.fulfil(&alice(), join());
    let leave = world.draft(&alice(), Wish::Leave).remove(0);
    let file = world.user_dir().join("leave.pending");
    world.restart(|world| {
        std::fs::create_dir_all(world.user_dir()).expect("made");
        std::fs::write(&file, format!("{}\n", hex::encode(leave.bytes()))).expect("written");
    });
    let waited = std::time::Instant::now();
    while file.exists() {
        assert!(waited.elapsed().as_secs() < 60, "it is not taken");
        std::thread::yield_now();
    }
    let status = world.status().expect("founded");
    assert_eq!(status.member_list[0].state, "left");
    let refused = failure(world.open(&alice(), Service::UploadPack));
    assert!(refused.why.expect("a proof").contains("left, rule 8"));
}
