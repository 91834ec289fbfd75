use gitback_envelope::{Act, EnvelopeId, Grant, Statement};
use gitback_helper::{Draft, Reply, Request};
use gitback_identity::{ProjectId, PuddleKey, SecretKey};

use crate::says::{asks_first, draft, founding, grant, verified};
use crate::world::{NOTES, World, dan, handle, notes, uid};

fn world() -> World {
    let world = World::new();
    world.make_repository();
    world
}

fn need_grant(draft: Draft) -> Reply {
    Reply::NeedSignature {
        drafts: vec![draft],
        why: "this machine needs a signature, once, to serve it".to_owned(),
        founder: dan().to_string(),
        handle: "notes".to_owned(),
    }
}

#[test]
fn a_grant_is_signed_once_and_then_the_stream_opens() {
    let world = world();
    let _session = world.unlock();
    let daemon = world.daemon(asks_first(need_grant(draft(&grant()))));
    let output = world.try_git(".", &["clone", NOTES, "copy"]);

    assert!(output.status.success(), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("writing it down\nmars may serve you now\n"),
        "{errors}"
    );
    let requests = daemon.requests();
    let [
        Request::Open { .. },
        Request::Submit { project, envelopes },
        Request::Open { .. },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(*project, notes().to_string());
    let [envelope] = &envelopes[..] else {
        panic!("{envelopes:?}");
    };
    assert_eq!(*verified(envelope).statement(), grant());
}

/// Whoever is invited again joins and grants in one go; heads are gathered before where they are
/// too many.
#[test]
fn everything_that_is_needed_is_signed_in_order() {
    let world = world();
    let _session = world.unlock();
    let merge = Statement {
        act: Act::Merge,
        ..grant()
    };
    let then = |before: &Statement, seq, act| Statement {
        seq,
        prev: Some(before.id().expect("an id")),
        deps: vec![],
        act,
        ..grant()
    };
    let invite = *founding().id();
    let join = then(&merge, 1, Act::Join { invite });
    let grant = then(&join, 2, grant().act);
    let needed = [merge, join, grant];
    let daemon = world.daemon(asks_first(Reply::NeedSignature {
        drafts: needed.iter().map(draft).collect(),
        why: "you were invited again".to_owned(),
        founder: dan().to_string(),
        handle: "notes".to_owned(),
    }));
    world.git(".", &["ls-remote", NOTES]);

    let requests = daemon.requests();
    let [_, Request::Submit { envelopes, .. }, _] = &requests[..] else {
        panic!("{requests:?}");
    };
    let signed: Vec<Statement> = envelopes
        .iter()
        .map(|envelope| verified(envelope).statement().clone())
        .collect();
    assert_eq!(signed, needed);
}

#[test]
fn a_token_brings_the_users_own_project_in() {
    for url in [NOTES.to_owned(), format!("gitback://{}/notes", notes())] {
        let world = world();
        let _session = world.unlock();
        let daemon = world.daemon(asks_first(Reply::NeedToken {
            drafts: vec![draft(&grant())],
        }));
        world.git(".", &["clone", "--quiet", &url, "copy"]);

        let requests = daemon.requests();
        let [
            Request::Open { .. },
            Request::Bootstrap { project, token },
            Request::Open { .. },
        ] = &requests[..]
        else {
            panic!("{requests:?}");
        };
        assert_eq!(*project, notes().to_string());
        let [init, signed] = &token[..] else {
            panic!("{token:?}");
        };
        assert_eq!(
            *verified(init).statement(),
            Statement::init(&dan(), &handle())
        );
        assert_eq!(*verified(signed).statement(), grant());
    }
}

#[test]
fn a_locked_puddle_says_so_and_how_to_unlock_it() {
    let check = |need: Reply, what_for: &str| {
        let world = world();
        let daemon = world.daemon(asks_first(need));
        let errors = world.git_fails(".", &["ls-remote", NOTES]);
        assert_eq!(
            errors,
            format!("error: puddle dan is locked; {what_for}\nhint:  vigo swarm puddle unlock\n")
        );
        assert_eq!(daemon.requests().len(), 1, "nothing was handed in");
    };
    check(
        need_grant(draft(&grant())),
        "this machine needs a signature, once, to serve it",
    );
    check(
        Reply::NeedToken {
            drafts: vec![draft(&grant())],
        },
        "bringing the project to this machine needs a signature",
    );
}

#[test]
fn a_daemon_that_asks_for_another_signature_gets_none() {
    let check = |draft: Draft, why: &str| {
        let world = world();
        let _session = world.unlock();
        let daemon = world.daemon(asks_first(need_grant(draft)));
        let errors = world.git_fails(".", &["ls-remote", NOTES]);
        assert_eq!(
            errors,
            format!(
                "error: the daemon asked for a signature that it may not have; nothing was signed\n\
                 why:   {why}\n\
                 hint:  the daemon of this machine is of another version, or not to be trusted\n"
            )
        );
        assert_eq!(daemon.requests().len(), 1, "nothing was handed in");
    };
    let honest = draft(&grant());
    check(
        Draft {
            body: "zz".to_owned(),
            ..honest.clone()
        },
        "it is not written in hex, or is too long",
    );
    check(
        Draft {
            body: "00".repeat(65 * 1024),
            ..honest
        },
        "it is not written in hex, or is too long",
    );

    let init = Statement::init(&dan(), &handle());
    check(
        draft(&init),
        "nobody asked for application/vnd.gitback.init.v1+cbor",
    );

    let other = ProjectId::from_bytes(&[0xab; 32]);
    check(
        draft(&Statement {
            project: other,
            ..grant()
        }),
        "it is about another project, abababab",
    );

    let stranger = SecretKey::from_seed(&[8; 32]).public();
    let foreign = Statement {
        signer: stranger,
        puddle: PuddleKey::new(stranger),
        ..grant()
    };
    check(draft(&foreign), "it is for another puddle");

    let Act::Grant(honest) = grant().act else {
        panic!("a grant")
    };
    let act = Act::Grant(Grant {
        uid: uid() + 1,
        ..honest.clone()
    });
    check(
        draft(&Statement { act, ..grant() }),
        &format!("it would let user {} in", uid() + 1),
    );
    let act = Act::Grant(Grant {
        expires_ms: None,
        ..honest
    });
    check(
        draft(&Statement { act, ..grant() }),
        "its end is not what was asked for",
    );
    let act = Act::Leave {
        invite: EnvelopeId::from_bytes(&[4; 32]),
    };
    check(
        draft(&Statement { act, ..grant() }),
        "nobody asked for application/vnd.gitback.leave.v1+cbor",
    );
}

#[test]
fn a_draft_that_is_no_statement_is_not_signed() {
    let world = world();
    let _session = world.unlock();
    let daemon = world.daemon(asks_first(need_grant(Draft {
        type_name: grant().type_name(),
        body: "a0".to_owned(),
    })));
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert!(errors.contains("why:   it is no statement: "), "{errors}");
    assert_eq!(daemon.requests().len(), 1, "nothing was handed in");
}

#[test]
fn a_session_with_another_key_is_of_no_use() {
    let world = world();
    let _session = world.unlock_as(SecretKey::from_seed(&[8; 32]));
    let daemon = world.daemon(asks_first(need_grant(draft(&grant()))));
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert!(
        errors.starts_with("error: the key that is unlocked is not that of puddle dan; this"),
        "{errors}"
    );
    assert!(
        errors.ends_with("\nhint:  vigo swarm puddle lock\nhint:  vigo swarm puddle unlock\n"),
        "{errors}"
    );
    assert_eq!(daemon.requests().len(), 1, "nothing was handed in");
}

#[test]
fn a_daemon_that_is_never_content_is_given_up() {
    let world = world();
    let _session = world.unlock();
    let daemon = world.daemon(|request| match request {
        Request::Open { .. } => vec![need_grant(draft(&grant()))],
        _ => vec![Reply::Accepted {
            notes: vec![],
            token: None,
        }],
    });
    let errors = world.git_fails(".", &["ls-remote", NOTES]);
    assert_eq!(
        errors,
        "error: the daemon does not open notes\n\
         why:   it took a signature and asks for another\n\
         hint:  vigo envoy status\n"
    );
    assert_eq!(daemon.requests().len(), 3);
}

#[test]
fn somebody_elses_project_cannot_be_brought_in() {
    let world = world();
    let _session = world.unlock();
    let other = ProjectId::from_bytes(&[0xab; 32]);
    let token = draft(&Statement {
        project: other,
        ..grant()
    });
    let daemon = world.daemon(asks_first(Reply::NeedToken {
        drafts: vec![token],
    }));
    let errors = world.git_fails(".", &["ls-remote", &format!("gitback://{other}/notes")]);
    assert_eq!(
        errors,
        "error: this machine does not hold notes (abababab)\n\
         why:   only its founder and its members can bring it here; nothing here says that dan is one of them\n\
         hint:  if you were invited: vigo swarm gitback project join gitback://"
            .to_owned()
            + &format!("{other}/notes --invitation ID\n")
            + "hint:  check the address: git remote -v\n"
    );
    assert_eq!(daemon.requests().len(), 1, "nothing was handed in");
}

#[test]
fn without_a_puddle_nothing_can_be_signed() {
    let check = |need: Reply, expected: &str| {
        let world = World::empty();
        world.make_repository();
        let _daemon = world.daemon(asks_first(need));
        let errors = world.git_fails(".", &["ls-remote", &format!("gitback://{}/notes", notes())]);
        assert_eq!(errors, expected);
    };
    check(
        need_grant(draft(&grant())),
        "error: this machine may not serve notes to you yet\n\
         why:   that takes a signature, and you have no puddle on this machine\n\
         hint:  bring your puddle to this machine: vigo swarm puddle join\n",
    );
    check(
        Reply::NeedToken {
            drafts: vec![draft(&grant())],
        },
        &format!(
            "error: this machine does not hold notes ({})\n\
             why:   bringing it here takes a member's signature, and you have no puddle on this machine\n\
             hint:  bring your puddle to this machine: vigo swarm puddle join\n",
            notes().short()
        ),
    );
}
