use gitback_envelope::{
    Grant, Incarnation, Invite, RefName, Revoke, Role, Scope, Tombstone, Ungrant, Update,
};
use gitback_identity::SecretKey;

use super::*;

const UID: u32 = 1000;
const UNTIL: u64 = 90;

fn puddle(seed: u8) -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

fn envoy(seed: u8) -> EnvoyKey {
    EnvoyKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

fn id(byte: u8) -> EnvelopeId {
    EnvelopeId::from_bytes(&[byte; 32])
}

fn project() -> ProjectId {
    ProjectId::from_bytes(&[1; 32])
}

/// dan says `act` about the project, on mars.
fn says(act: Act) -> Statement {
    Statement {
        project: project(),
        signer: *puddle(7).key(),
        puddle: puddle(7),
        envoy: Some(envoy(9)),
        incarnation: Incarnation::from_bytes(&[3; 16]),
        seq: 0,
        prev: None,
        deps: vec![id(2)],
        time_ms: Some(1),
        act,
    }
}

fn draft(statement: &Statement) -> Draft {
    Draft {
        type_name: statement.type_name(),
        body: hex::encode(&statement.encode_body().expect("a body")),
    }
}

fn judge(statement: &Statement, may: &[May]) -> Result<(), DraftReject> {
    let (project, puddle) = (project(), puddle(7));
    let expected = Expected {
        project: &project,
        puddle: &puddle,
        may,
    };
    let approved = approve(&[draft(statement)], expected)?;
    let [approved] = approved.as_slice() else {
        panic!("{approved:?}");
    };
    assert_eq!(approved.statement(), statement);
    Ok(())
}

fn grant(envoy: EnvoyKey, uid: u32, expires_ms: Option<u64>) -> Act {
    Act::Grant(Grant {
        envoy,
        uid,
        expires_ms,
    })
}

fn delegate(to: PuddleKey, next: Option<[u8; 32]>, accept: u8) -> Act {
    Act::Delegate(Delegate {
        hop: 1,
        to,
        next,
        cut: vec![id(2)],
        accept: Signature::from_bytes(&[accept; 64]),
    })
}

fn policy(scope: Scope, protected: &[&[u8]]) -> Policy {
    let names = protected.iter().map(|name| RefName::new(name));
    Policy {
        scope,
        protected: names.collect::<Result<_, _>>().expect("ref names"),
        replicas: None,
    }
}

fn handle(text: &str) -> Handle {
    text.parse().expect("a handle")
}

fn may_grant() -> May {
    May::Grant {
        uid: UID,
        until_ms: UNTIL,
    }
}

/// One thing that can be asked for.
struct Case {
    may: May,
    /// What an honest daemon drafts for it.
    honest: Act,
    /// What another one could slip in under the same kind, and what is said to that.
    hostile: Vec<(Act, &'static str)>,
}

fn cases() -> Vec<Case> {
    let case = |may, honest, hostile| Case {
        may,
        honest,
        hostile,
    };
    let invite = |to, role| Act::Invite(Invite { puddle: to, role });
    let revoke = |invite| {
        Act::Revoke(Revoke {
            invite,
            cut: vec![id(2)],
        })
    };
    let end = |founder, text| {
        Act::Tombstone(Tombstone {
            founder,
            handle: handle(text),
            cut: vec![id(2)],
        })
    };
    let ungrant = |envoy| {
        Act::Ungrant(Ungrant {
            envoy,
            cut: vec![id(2)],
        })
    };
    let kept = policy(Scope::MembersOnly, &[b"refs/heads/main"]);
    vec![
        case(
            may_grant(),
            grant(envoy(9), UID, Some(UNTIL)),
            vec![
                (grant(envoy(9), 0, Some(UNTIL)), "it would let user 0 in"),
                (grant(envoy(8), UID, Some(UNTIL)), "its envoy is not"),
                (grant(envoy(9), UID, Some(UNTIL + 1)), "its end is not"),
                (grant(envoy(9), UID, None), "its end is not"),
            ],
        ),
        case(
            May::Join {
                invite: Some(id(4)),
            },
            Act::Join { invite: id(4) },
            vec![(Act::Join { invite: id(5) }, "its invitation is not")],
        ),
        case(
            May::Join { invite: None },
            Act::Join { invite: id(5) },
            vec![],
        ),
        case(May::Leave, Act::Leave { invite: id(4) }, vec![]),
        case(May::Rejoin, Act::Rejoin { invite: id(4) }, vec![]),
        case(
            May::Invite(Invite {
                puddle: puddle(8),
                role: Role::Reader,
            }),
            invite(puddle(8), Role::Reader),
            vec![
                (invite(puddle(6), Role::Reader), "its guest is not"),
                (invite(puddle(8), Role::Member), "its role is not"),
            ],
        ),
        case(
            May::Revoke {
                invites: vec![id(4), id(5)],
            },
            revoke(id(5)),
            vec![(revoke(id(6)), "its membership is not")],
        ),
        case(
            May::Delegate {
                to: puddle(8),
                next: None,
            },
            delegate(puddle(8), None, 0),
            vec![
                (delegate(puddle(6), None, 0), "its heir is not"),
                (delegate(puddle(8), Some([5; 32]), 0), "its heir after"),
                (delegate(puddle(8), None, 1), "its acceptance is not"),
            ],
        ),
        case(
            May::Tombstone {
                founder: puddle(8),
                handle: handle("notes-2"),
            },
            end(puddle(8), "notes-2"),
            vec![
                (end(puddle(6), "notes-2"), "its successor is not"),
                (end(puddle(8), "notes-3"), "its successor is not"),
            ],
        ),
        case(
            May::Ungrant { envoy: envoy(9) },
            ungrant(envoy(9)),
            vec![(ungrant(envoy(8)), "its envoy is not")],
        ),
        case(
            May::Policy(kept.clone()),
            Act::Policy(kept),
            vec![
                (
                    Act::Policy(policy(Scope::SwarmWide, &[b"refs/heads/main"])),
                    "its policy is not",
                ),
                (
                    Act::Policy(policy(Scope::MembersOnly, &[])),
                    "its policy is not",
                ),
            ],
        ),
    ]
}

#[test]
fn what_was_asked_for_is_approved_and_nothing_else_of_its_kind() {
    for Case {
        may,
        honest,
        hostile,
    } in cases()
    {
        assert_eq!(
            judge(&says(honest), std::slice::from_ref(&may)),
            Ok(()),
            "{may:?}"
        );
        for (act, why) in hostile {
            let reject = judge(&says(act), std::slice::from_ref(&may)).expect_err("hostile");
            assert!(reject.to_string().starts_with(why), "{may:?}: {reject}");
        }
    }
}

#[test]
fn no_other_kind_passes_for_what_was_asked_for() {
    let acts = || cases().into_iter().map(|case| case.honest);
    for Case { may, honest, .. } in cases() {
        for act in acts().filter(|act| act.kind() != honest.kind()) {
            let statement = says(act);
            let type_name = statement.type_name();
            assert_eq!(
                judge(&statement, std::slice::from_ref(&may)),
                Err(DraftReject::OtherKind { type_name }),
                "{may:?}"
            );
        }
    }
}

#[test]
fn the_puddle_signs_no_update() {
    let update = says(Act::Update(Update {
        changes: vec![gitback_envelope::Change {
            name: RefName::new(b"refs/heads/main").expect("a name"),
            new: gitback_envelope::Oid::from_bytes(&[1; 20]),
            contained: vec![],
            forced: vec![],
        }],
        head: None,
        pack: None,
    }));
    for Case { may, .. } in cases() {
        let reject = judge(&update, &[may]).expect_err("nobody asked");
        assert!(matches!(reject, DraftReject::OtherKind { .. }), "{reject}");
    }
}

#[test]
fn heads_may_be_gathered_on_the_way() {
    for Case { may, .. } in cases() {
        assert_eq!(judge(&says(Act::Merge), &[may]), Ok(()));
    }
    let foreign = Statement {
        puddle: puddle(8),
        signer: *puddle(8).key(),
        ..says(Act::Merge)
    };
    assert!(judge(&foreign, &[may_grant()]).is_err());
}

#[test]
fn it_is_about_this_project_and_by_this_puddle_itself() {
    let honest = says(grant(envoy(9), UID, Some(UNTIL)));
    let check = |statement: Statement, expected: &str| {
        let reject = judge(&statement, &[may_grant()]).expect_err("hostile");
        assert_eq!(reject.to_string(), expected);
    };
    check(
        Statement {
            project: ProjectId::from_bytes(&[0xab; 32]),
            ..honest.clone()
        },
        "it is about another project, abababab",
    );
    check(
        Statement {
            puddle: puddle(8),
            signer: *puddle(8).key(),
            ..honest
        },
        "it is for another puddle",
    );
    // Only updates and merges are signed for a puddle by an envoy.
    check(
        Statement {
            signer: *envoy(9).key(),
            ..says(Act::Merge)
        },
        "it is for another puddle",
    );
}

#[test]
fn any_of_several_may_match() {
    let invite = |seed| Invite {
        puddle: puddle(seed),
        role: Role::Member,
    };
    let may = [May::Invite(invite(5)), May::Invite(invite(6))];
    assert_eq!(judge(&says(Act::Invite(invite(6))), &may), Ok(()));
    assert_eq!(
        judge(&says(Act::Invite(invite(8))), &may),
        Err(DraftReject::Field { field: "guest" })
    );
}

#[test]
fn what_is_no_statement_is_refused() {
    let (project, puddle) = (project(), puddle(7));
    let honest = draft(&says(Act::Leave { invite: id(4) }));
    let check = |draft: Draft, expected: fn(&DraftReject) -> bool| {
        let expecting = Expected {
            project: &project,
            puddle: &puddle,
            may: &[May::Leave],
        };
        let reject = approve(&[draft], expecting).expect_err("hostile");
        assert!(expected(&reject), "{reject:?}");
    };
    let with = |body: String| Draft {
        body,
        ..honest.clone()
    };
    check(with("zz".to_owned()), |reject| *reject == DraftReject::Hex);
    check(with(honest.body.to_uppercase()), |reject| {
        *reject == DraftReject::Hex
    });
    check(with("00".repeat(CUT_BODY_MAX + 1)), |reject| {
        *reject == DraftReject::Hex
    });
    check(with(String::new()), |reject| {
        matches!(reject, DraftReject::Statement(_))
    });
    check(with(format!("{}00", honest.body)), |reject| {
        matches!(reject, DraftReject::Statement(_))
    });
    let lies = Draft {
        type_name: says(Act::Merge).type_name(),
        ..honest.clone()
    };
    check(lies, |reject| matches!(reject, DraftReject::Statement(_)));
}

#[test]
fn one_bad_draft_spoils_all() {
    let (project, puddle) = (project(), puddle(7));
    let expected = Expected {
        project: &project,
        puddle: &puddle,
        may: &[May::Leave],
    };
    let leave = draft(&says(Act::Leave { invite: id(4) }));
    let rejoin = draft(&says(Act::Rejoin { invite: id(4) }));
    assert!(approve(&[leave.clone(), leave.clone()], expected).is_ok());
    assert!(approve(&[leave.clone(), rejoin], expected).is_err());
    let check = |count: usize| {
        let reject = approve(&vec![leave.clone(); count], expected).err();
        assert_eq!(reject, Some(DraftReject::Count { count }));
    };
    check(0);
    check(DRAFTS_MAX + 1);
}
