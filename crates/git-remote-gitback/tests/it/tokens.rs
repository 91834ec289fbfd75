//! Tokens in the user's home: kept, presented, renewed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use gitback_envelope::{Act, Grant, Invite, Role, Statement, Token};
use gitback_helper::{EnvoyStatus, GRANT_LIFE, Renewal, Reply, Request};
use gitback_identity::{EnvoyKey, PuddleKey, SecretKey, hex};

use crate::says::{asks_first, draft, founding, grant, mars, sealed, token, verified};
use crate::world::{NOTES, World, dan, handle, notes, secret};

fn world() -> World {
    let world = World::new();
    world.make_repository();
    world
}

fn place(world: &World) -> PathBuf {
    let dir = world.root().join("home/.vigo-gitback");
    dir.join(notes().to_string()).join("token")
}

fn keep(world: &World, token: &Token) {
    let place = place(world);
    fs::create_dir_all(place.parent().expect("a parent")).expect("room");
    fs::write(place, token.encode()).expect("written");
}

/// The same token, for another envoy or another time.
fn token_with(change: impl FnOnce(&mut Grant)) -> Token {
    let mut statement = grant();
    let Act::Grant(act) = &mut statement.act else {
        panic!("a grant");
    };
    change(act);
    Token::new(vec![founding(), sealed(statement, &secret())])
}

fn envoy() -> Reply {
    Reply::Envoy(EnvoyStatus {
        name: "mars".to_owned(),
        key: mars().to_string(),
        version: "0".to_owned(),
        mode: "root".to_owned(),
        listen: String::new(),
        started_ms: 0,
        now_ms: 0,
        free_percent: 50,
        projects: 0,
        peers: vec![],
    })
}

/// A daemon that has lost the project and wants it back.
fn lost() -> impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static {
    let answer = asks_first(Reply::NeedToken { drafts: vec![] });
    move |request| match request {
        Request::Envoy => vec![envoy()],
        other => answer(other),
    }
}

/// The envelopes that were handed in to bring the project in.
fn bootstrap(requests: &[Request]) -> &[String] {
    let token = requests.iter().find_map(|request| match request {
        Request::Bootstrap { token, .. } => Some(token),
        _ => None,
    });
    token.unwrap_or_else(|| panic!("{requests:?}"))
}

/// So late that nothing is renewed.
fn later() -> u64 {
    now_ms() + HALF_MS + 24 * 3_600_000
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.expect("after 1970").as_millis()).expect("it fits")
}

#[test]
fn what_was_accepted_is_kept() {
    let world = world();
    let _session = world.unlock();
    let _daemon = world.daemon(asks_first(Reply::NeedSignature {
        drafts: vec![draft(&grant())],
        why: "this machine needs a signature, once, to serve it".to_owned(),
        founder: dan().to_string(),
        handle: "notes".to_owned(),
    }));
    world.git(".", &["ls-remote", NOTES]);

    let kept = fs::read(place(&world)).expect("a token");
    assert_eq!(kept, token().encode());
    let mode = fs::metadata(place(&world))
        .expect("it is there")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

/// A cron job does not know that the envoy has lost its disk.
#[test]
fn a_kept_token_brings_the_project_in_while_the_puddle_is_locked() {
    let world = world();
    let kept = token_with(|grant| grant.expires_ms = Some(later()));
    keep(&world, &kept);
    let daemon = world.daemon(lost());
    world.git(".", &["ls-remote", NOTES]);

    let requests = daemon.requests();
    let [_, Request::Envoy, Request::Bootstrap { token, .. }, _] = &requests[..] else {
        panic!("{requests:?}");
    };
    let sent: Vec<String> = kept
        .envelopes()
        .iter()
        .map(|envelope| hex::encode(envelope.bytes()))
        .collect();
    assert_eq!(*token, sent);
}

#[test]
fn a_token_for_another_envoy_takes_a_new_grant() {
    let world = world();
    keep(&world, &for_titan());
    let _session = world.unlock();
    let daemon = world.daemon(lost());
    world.git(".", &["ls-remote", NOTES]);

    let requests = daemon.requests();
    let token = bootstrap(&requests);
    let envelopes = token.iter().map(|envelope| verified(envelope)).collect();
    let proof = Token::new(envelopes).verify(&notes()).expect("a proof");
    assert_eq!((proof.envoy, proof.puddle), (mars(), dan()));
}

#[test]
fn a_new_grant_takes_an_unlocked_puddle() {
    let world = world();
    keep(&world, &for_titan());
    let _daemon = world.daemon(lost());
    assert_eq!(
        world.git_fails(".", &["ls-remote", NOTES]),
        "error: puddle dan is locked; bringing the project to this machine needs a signature\n\
         hint:  vigo swarm puddle unlock\n"
    );
}

fn for_titan() -> Token {
    token_with(|grant| {
        grant.envoy = titan();
        grant.expires_ms = Some(later());
    })
}

fn titan() -> EnvoyKey {
    EnvoyKey::new(SecretKey::from_seed(&[5; 32]).public())
}

/// A member who is not the founder brings the project to one more machine.
#[test]
fn a_members_token_keeps_what_proves_the_membership() {
    let world = world();
    let alice = SecretKey::from_seed(&[8; 32]);
    let init = Statement::init(&PuddleKey::new(alice.public()), &handle());
    let project = init.project;
    let init = sealed(init, &alice);
    let by = |key: &SecretKey, after, act| Statement {
        project,
        signer: key.public(),
        puddle: PuddleKey::new(key.public()),
        deps: vec![after],
        act,
        ..grant()
    };
    let role = Role::Member;
    let act = Act::Invite(Invite {
        puddle: dan(),
        role,
    });
    let invite = sealed(by(&alice, *init.id(), act), &alice);
    let act = Act::Join {
        invite: *invite.id(),
    };
    let join = sealed(by(&secret(), *invite.id(), act), &secret());
    let act = Act::Grant(Grant {
        envoy: titan(),
        uid: 1,
        expires_ms: Some(later()),
    });
    let granted = sealed(by(&secret(), *join.id(), act), &secret());
    let kept = Token::new(vec![init, invite, join.clone(), granted]);
    kept.verify(&project).expect("a proof");
    let dir = world
        .root()
        .join("home/.vigo-gitback")
        .join(project.to_string());
    fs::create_dir_all(&dir).expect("room");
    fs::write(dir.join("token"), kept.encode()).expect("written");

    let _session = world.unlock();
    let daemon = world.daemon(lost());
    world.git(".", &["ls-remote", &format!("gitback://{project}/notes")]);
    let requests = daemon.requests();
    let token = bootstrap(&requests);
    let envelopes: Vec<_> = token.iter().map(|envelope| verified(envelope)).collect();
    let new = envelopes.last().expect("a grant").statement().clone();
    assert_eq!((new.seq, new.deps), (0, vec![*join.id()]));
    let proof = Token::new(envelopes).verify(&project).expect("a proof");
    assert_eq!((proof.envoy, proof.puddle), (mars(), dan()));
}

/// Renews, or not, with a grant that has `left` to live. Gives what was asked of the daemon.
fn renewing(left_ms: u64, unlocked: bool, drafts: Statement) -> (Vec<Request>, bool) {
    let world = world();
    keep(
        &world,
        &token_with(|grant| grant.expires_ms = Some(now_ms() + left_ms)),
    );
    let _session = unlocked.then(|| world.unlock());
    let daemon = world.daemon(move |request| match request {
        Request::Open { .. } => vec![Reply::Ready],
        Request::Renewals { .. } => vec![Reply::Renewals {
            items: ["ab".repeat(32), notes().to_string()]
                .map(|project| Renewal {
                    project,
                    handle: "notes".to_owned(),
                    drafts: vec![draft(&drafts)],
                    why: "the grant ends in 30 d".to_owned(),
                })
                .to_vec(),
        }],
        _ => vec![Reply::Accepted {
            notes: vec![],
            token: Some(hex::encode(&token().encode())),
        }],
    });
    world.git(".", &["ls-remote", NOTES]);
    let renewed = fs::read(place(&world)).expect("a token") == token().encode();
    (daemon.requests(), renewed)
}

const HALF_MS: u64 = 45 * 24 * 3_600_000;

#[test]
fn a_grant_is_renewed_by_the_way_when_less_than_half_of_it_is_left() {
    assert_eq!(u128::from(HALF_MS) * 2, GRANT_LIFE.as_millis());
    let (requests, renewed) = renewing(HALF_MS - 60_000, true, grant());
    let [
        Request::Renewals { puddle },
        Request::Submit { project, .. },
        Request::Open { .. },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(
        (puddle, project),
        (&dan().to_string(), &notes().to_string())
    );
    assert!(renewed);
}

#[test]
fn a_grant_with_more_time_or_a_locked_puddle_is_left_alone() {
    for (left_ms, unlocked) in [(HALF_MS + 3_600_000, true), (1000, false)] {
        let (requests, renewed) = renewing(left_ms, unlocked, grant());
        assert!(
            matches!(&requests[..], [Request::Open { .. }]),
            "{requests:?}"
        );
        assert!(!renewed);
    }
}

#[test]
fn a_renewal_that_may_not_be_signed_does_not_stop_a_fetch() {
    let leave = Statement {
        act: Act::Leave {
            invite: *founding().id(),
        },
        ..grant()
    };
    let (requests, renewed) = renewing(1000, true, leave);
    assert!(
        matches!(
            &requests[..],
            [Request::Renewals { .. }, Request::Open { .. }]
        ),
        "{requests:?}"
    );
    assert!(!renewed);
}
