use gitback_helper::{
    AlarmStatus, Called, ClaimStatus, ContactStatus, ContestStatus, CopyStatus, Draft, EnvoyStatus,
    Failure, HopStatus, LogEntry, MemberStatus, NamesStatus, PeerStatus, ProjectStatus, RefEvent,
    RefStatus, Removal, Removing, Renewal, Reply, Request, Restored, RivalStatus, Role, Scope,
    Scrub, ScrubSource, Service, SuccessorStatus, SyncStatus, VersionStatus, Wish,
};

fn request(json: &str) -> Option<Request> {
    Request::decode(json.as_bytes()).ok()
}

/// The form of every request, as written in docs/spec/helper-socket.md.
#[test]
fn requests_have_the_written_form() {
    let check = |json: &str, expected: Request| {
        assert_eq!(request(json).as_ref(), Some(&expected), "{json}");
        let again = serde_json::to_vec(&expected).expect("JSON");
        assert_eq!(Request::decode(&again).expect("its own form"), expected);
    };
    let text = str::to_owned;
    check(
        r#"{"do":"open","version":2,"service":"receive_pack","project":"ab","handle":"notes","puddle":"cd",
            "protocol":null,"push_wait_ms":3000,"quiet":true,"progress":false,
            "remote":"origin"}"#,
        Request::Open {
            version: 2,
            service: Service::ReceivePack,
            project: text("ab"),
            handle: text("notes"),
            puddle: Some(text("cd")),
            protocol: None,
            push_wait_ms: Some(3000),
            quiet: true,
            progress: false,
            trace: false,
            called: None,
            remote: Some(text("origin")),
        },
    );
    check(
        r#"{"do":"open","version":2,"service":"upload_pack","project":"ab","handle":"notes","puddle":null,
            "protocol":null,"push_wait_ms":null,"quiet":false,"progress":false,
            "called":{"name":"alice","puddle":"ef"}}"#,
        Request::Open {
            version: 2,
            service: Service::UploadPack,
            project: text("ab"),
            handle: text("notes"),
            puddle: None,
            protocol: None,
            push_wait_ms: None,
            quiet: false,
            progress: false,
            trace: false,
            called: Some(Called {
                name: text("alice"),
                puddle: text("ef"),
            }),
            remote: None,
        },
    );
    check(
        r#"{"do":"draft","project":"ab","handle":"notes","puddle":"cd","wish":{"wish":"grant"}}"#,
        draft(Wish::Grant),
    );
    check(
        r#"{"do":"found","envelope":"00"}"#,
        Request::Found {
            envelope: text("00"),
        },
    );
    check(
        r#"{"do":"submit","project":"ab","envelopes":["00","11"]}"#,
        Request::Submit {
            project: text("ab"),
            envelopes: vec![text("00"), text("11")],
        },
    );
    check(
        r#"{"do":"bootstrap","project":"ab","token":["00","11"]}"#,
        Request::Bootstrap {
            project: text("ab"),
            token: vec![text("00"), text("11")],
        },
    );
    check(
        r#"{"do":"log","project":"ab","skip":500}"#,
        Request::Log {
            project: text("ab"),
            skip: 500,
        },
    );
    check(
        r#"{"do":"renewals","puddle":"cd"}"#,
        Request::Renewals { puddle: text("cd") },
    );
    check(
        r#"{"do":"claim_name","claim":"00"}"#,
        Request::ClaimName { claim: text("00") },
    );
    check(
        r#"{"do":"names","name":"alice","puddle":null,"handle":null}"#,
        Request::Names {
            name: Some(text("alice")),
            puddle: None,
            handle: None,
        },
    );
    check(
        r#"{"do":"names","name":null,"puddle":"cd","handle":"notes"}"#,
        Request::Names {
            name: None,
            puddle: Some(text("cd")),
            handle: Some(text("notes")),
        },
    );
    check(
        r#"{"do":"pick_line","project":"ab","delegate":"ef"}"#,
        Request::PickLine {
            project: text("ab"),
            delegate: text("ef"),
        },
    );
    check(
        r#"{"do":"ref_log","project":"ab","name":"main","skip":500}"#,
        Request::RefLog {
            project: text("ab"),
            name: Some(text("main")),
            skip: 500,
        },
    );
    check(
        r#"{"do":"restore","project":"ab","name":"main","to":"cdef","dry_run":true,"push_wait_ms":5}"#,
        Request::Restore {
            project: text("ab"),
            name: text("main"),
            to: Some(text("cdef")),
            dry_run: true,
            push_wait_ms: Some(5),
        },
    );
    check(
        r#"{"do":"sync","projects":["ab"],"contact":true,"after":7,"wait_ms":1000}"#,
        Request::Sync {
            projects: vec![text("ab")],
            contact: true,
            after: Some(7),
            wait_ms: 1000,
        },
    );
    check(
        r#"{"do":"purge","project":"ab","how":"delete"}"#,
        Request::Purge {
            project: Some(text("ab")),
            how: Removing::Delete,
        },
    );
    check(
        r#"{"do":"bring_back","project":"ab"}"#,
        Request::BringBack {
            project: text("ab"),
        },
    );
    check(
        r#"{"do":"orphans","how":"delete_even_last"}"#,
        Request::Orphans {
            how: Removing::DeleteEvenLast,
        },
    );
    check(
        r#"{"do":"scrub","projects":["ab"]}"#,
        Request::Scrub {
            projects: vec![text("ab")],
        },
    );
    check(
        r#"{"do":"carry_over","from":"ab","to":"cd"}"#,
        Request::CarryOver {
            from: text("ab"),
            to: text("cd"),
        },
    );
    check(r#"{"do":"envoy"}"#, Request::Envoy);
    check(r#"{"do":"card"}"#, Request::Card);
    check(
        r#"{"do":"enrol_request","challenge":"ab"}"#,
        Request::EnrolRequest {
            challenge: text("ab"),
        },
    );
    check(
        r#"{"do":"enrol","request":"ab","challenge":"cd"}"#,
        Request::Enrol {
            request: text("ab"),
            challenge: text("cd"),
        },
    );
    check(
        r#"{"do":"join_fleet","enrolment":"ab"}"#,
        Request::JoinFleet {
            enrolment: text("ab"),
        },
    );
    check(
        r#"{"do":"ticket","valid_ms":1000}"#,
        Request::Ticket { valid_ms: 1000 },
    );
    check(
        r#"{"do":"join_by_ticket","ticket":"vigo1ab"}"#,
        Request::JoinByTicket {
            ticket: text("vigo1ab"),
        },
    );
    check(r#"{"do":"fleet"}"#, Request::Fleet);
    check(
        r#"{"do":"remove_envoy","envoy":"titan"}"#,
        Request::RemoveEnvoy {
            envoy: text("titan"),
            with_brought_in: false,
        },
    );
    check(
        r#"{"do":"remove_envoy","envoy":"titan","with_brought_in":true}"#,
        Request::RemoveEnvoy {
            envoy: text("titan"),
            with_brought_in: true,
        },
    );
    check(r#"{"do":"projects"}"#, Request::Projects);
    check(
        r#"{"do":"project","project":"ab"}"#,
        Request::Project {
            project: text("ab"),
        },
    );
}

fn draft(wish: Wish) -> Request {
    Request::Draft {
        project: "ab".to_owned(),
        handle: "notes".to_owned(),
        puddle: "cd".to_owned(),
        wish,
    }
}

/// The form of every wish, as written in docs/spec/helper-socket.md.
#[test]
fn wishes_have_the_written_form() {
    let check = |json: &str, wish: Wish| {
        let whole = format!(
            r#"{{"do":"draft","project":"ab","handle":"notes","puddle":"cd","wish":{json}}}"#
        );
        assert_eq!(request(&whole), Some(draft(wish.clone())), "{json}");
        let again = serde_json::to_vec(&draft(wish.clone())).expect("JSON");
        assert_eq!(
            Request::decode(&again).expect("its own form"),
            draft(wish),
            "{json}"
        );
        let more = whole.replace(r#"{"wish":""#, r#"{"extra":1,"wish":""#);
        assert_eq!(request(&more), None, "{more}");
    };
    let text = str::to_owned;
    check(r#"{"wish":"grant"}"#, Wish::Grant);
    check(r#"{"wish":"join"}"#, Wish::Join { invitation: None });
    check(
        r#"{"wish":"join","invitation":"12"}"#,
        Wish::Join {
            invitation: Some(text("12")),
        },
    );
    check(r#"{"wish":"leave"}"#, Wish::Leave);
    check(
        r#"{"wish":"invite","puddle":"34","role":"reader"}"#,
        Wish::Invite {
            puddle: text("34"),
            role: Role::Reader,
        },
    );
    check(r#"{"wish":"reinvite_all"}"#, Wish::ReinviteAll);
    check(
        r#"{"wish":"revoke","puddle":"34"}"#,
        Wish::Revoke { puddle: text("34") },
    );
    check(r#"{"wish":"rejoin"}"#, Wish::Rejoin);
    check(
        r#"{"wish":"delegate","to":"34","next":"56"}"#,
        Wish::Delegate {
            to: text("34"),
            next: Some(text("56")),
        },
    );
    check(
        r#"{"wish":"tombstone","founder":"34","handle":"notes-2"}"#,
        Wish::Tombstone {
            founder: text("34"),
            handle: text("notes-2"),
        },
    );
    check(r#"{"wish":"ungrant"}"#, Wish::Ungrant { envoy: None });
    check(
        r#"{"wish":"policy","scope":"swarm","protected":["refs/heads/main"],"replicas":3}"#,
        Wish::Policy {
            scope: Scope::Swarm,
            protected: vec![text("refs/heads/main")],
            replicas: Some(3),
        },
    );
}

#[test]
fn what_may_be_null_may_be_left_out() {
    let json = r#"{"do":"open","version":1,"service":"upload_pack","project":"ab",
        "handle":"notes","quiet":false,"progress":false}"#;
    let Some(Request::Open {
        puddle: None,
        protocol: None,
        push_wait_ms: None,
        ..
    }) = request(json)
    else {
        panic!("{json}");
    };
}

#[test]
fn rejects_what_is_no_request() {
    for json in [
        "",
        "{",
        "null",
        "[]",
        r#""envoy""#,
        "{}",
        r#"{"do":"purge"}"#,
        r#"{"do":"envoy","verbose":true}"#,
        r#"{"do":"projects","mine":true}"#,
        r#"{"do":"envoy","do":"projects"}"#,
        r#"{"do":"found"}"#,
        r#"{"do":"found","envelope":"00","extra":1}"#,
        r#"{"do":"found","envelope":7}"#,
        r#"{"do":"draft","project":"","handle":"","puddle":""}"#,
        r#"{"do":"draft","project":"","handle":"","puddle":"","wish":"grant"}"#,
        r#"{"do":"draft","project":"","handle":"","puddle":"","wish":{"wish":"everything"}}"#,
        r#"{"do":"draft","project":"","handle":"","puddle":"","wish":{"wish":"grant"},"uid":0}"#,
        r#"{"do":"submit","project":"ab","envelope":"00"}"#,
        r#"{"do":"envoy"} "trailing""#,
        r#"{"do":"open","version":-1,"service":"upload_pack","project":"","handle":"","quiet":false,"progress":false}"#,
        r#"{"do":"open","version":1,"service":"upload_archive","project":"","handle":"","quiet":false,"progress":false}"#,
    ] {
        assert_eq!(request(json), None, "{json}");
    }
    assert!(Request::decode(&[0xff, 0xfe]).is_err());
    assert!(
        Request::decode("[".repeat(60_000).as_bytes()).is_err(),
        "deep nesting"
    );
}

#[test]
fn every_reply_survives_the_wire() {
    for reply in replies() {
        let json = serde_json::to_string(&reply).expect("JSON");
        assert!(json.starts_with(r#"{"reply":""#), "{json}");
        assert_eq!(
            serde_json::from_str::<Reply>(&json).expect("its own form"),
            reply
        );
    }
}

#[test]
fn a_list_of_projects_is_an_object_on_the_wire() {
    let json = serde_json::to_string(&Reply::Projects(vec![])).expect("JSON");
    assert_eq!(json, r#"{"reply":"projects","projects":[]}"#);
}

/// A newer daemon may say more than an older client knows.
#[test]
fn a_reply_may_say_more_than_is_known() {
    let json = r#"{"reply":"failed","code":14,"what":"full","why":null,"severity":"high"}"#;
    let expected = Failure {
        code: 14,
        what: "full".into(),
        why: None,
        hints: vec![],
    };
    assert_eq!(
        serde_json::from_str::<Reply>(json).expect("a reply"),
        Reply::Failed(expected)
    );
}

fn replies() -> Vec<Reply> {
    let draft = || Draft {
        type_name: "t".into(),
        body: "00".into(),
    };
    vec![
        Reply::Ready,
        Reply::Accepted {
            notes: vec!["one".into()],
            token: Some("00".into()),
        },
        Reply::Drafts {
            drafts: vec![draft(), draft()],
            founder: "ab".into(),
            handle: "notes".into(),
            notes: vec!["hop 3 of 5".into()],
        },
        Reply::NeedSignature {
            drafts: vec![draft()],
            why: "this machine needs a signature".into(),
            founder: "ab".into(),
            handle: "notes".into(),
        },
        Reply::NeedToken {
            drafts: vec![draft()],
        },
        Reply::Moved {
            founder: "ab".into(),
            handle: "notes-2".into(),
            project: "cd".into(),
        },
        Reply::Progress {
            text: "asking venus".into(),
        },
        Reply::Envoy(envoy()),
        Reply::Projects(vec![project()]),
        Reply::Project(project()),
        Reply::Log {
            entries: vec![entry()],
            more: true,
        },
        Reply::RefLog {
            events: vec![RefEvent {
                name: "refs/heads/main".into(),
                update: "ab".into(),
                time_ms: Some(5),
                puddle: "cd".into(),
                envoy: None,
                envoy_name: Some("mars".into()),
                old: vec!["00".repeat(20)],
                new: None,
                what: "deleted".into(),
                state: "void".into(),
                code: Some("revoked".into()),
                rule: Some(7),
                why: Some("the membership has ended".into()),
                replaced_by: None,
                served_as: None,
                here: false,
                let_go_ms: Some(9),
                let_go_by: Some("90d".into()),
            }],
            more: true,
        },
        Reply::Restored(Restored {
            name: "refs/heads/main".into(),
            old: None,
            new: "00".repeat(20),
            from: Some("ab".into()),
            update: None,
            forced: false,
            notes: vec!["success: stored on mars".into()],
        }),
        Reply::Sync(SyncStatus {
            change: 7,
            now_ms: 5,
            contacts: vec![ContactStatus {
                name: "venus".into(),
                key: "ef".into(),
                state: "current".into(),
                reason: None,
                begun: 2,
                done: 1,
            }],
            projects: vec![ProjectStatus::default()],
        }),
        Reply::Removals {
            items: vec![Removal {
                project_id: None,
                handle: None,
                founder: None,
                path: "/var/lib/vigo".into(),
                bytes: 5,
                why: "stray".into(),
                copies: 0,
                holders: vec![],
                others: vec!["venus does not hold it".into()],
                replicas: Some(2),
                outcome: "kept".into(),
                reason: Some("the last copy".into()),
            }],
        },
        Reply::Scrubbed {
            items: vec![Scrub {
                project_id: "ab".into(),
                handle: Some("notes".into()),
                founder: None,
                path: "/var/lib/vigo".into(),
                outcome: "damaged".into(),
                packs: 3,
                objects: 50,
                set_aside: vec!["/var/lib/vigo/damaged/pack-ab.pack".into()],
                renewed: vec![],
                saved: 7,
                sources: vec![ScrubSource {
                    name: "venus".into(),
                    objects: 2,
                }],
                lacking: 1,
                lost: 1,
                lacking_objects: vec!["cd".into()],
                asked: vec!["titan is away".into()],
                reason: None,
            }],
        },
        Reply::Renewals {
            items: vec![Renewal {
                project: "ab".into(),
                handle: "notes".into(),
                drafts: vec![draft()],
                why: "the grant ends in 3 d".into(),
            }],
        },
        Reply::Names(NamesStatus {
            claims: vec![ClaimStatus {
                name: Some("alice".into()),
                puddle: "ef".into(),
                counter: 7,
                since_ms: 5,
            }],
            all: 1,
            near: Some("alicia".into()),
            projects: vec!["ab".into()],
        }),
        Reply::Failed(Failure {
            code: 12,
            what: "no".into(),
            why: Some("because".into()),
            hints: vec!["try".into(), "again".into()],
        }),
    ]
}

fn envoy() -> EnvoyStatus {
    EnvoyStatus {
        name: "mars".into(),
        key: "ab".into(),
        version: "0.1.0".into(),
        mode: "root".into(),
        listen: "127.0.0.1:1531".into(),
        started_ms: 1,
        now_ms: 2,
        free_percent: 61,
        projects: 12,
        peers: vec![PeerStatus {
            name: "venus".into(),
            key: "cd".into(),
            address: "127.0.0.1:1532".into(),
            state: "offline".into(),
            reason: Some("connection refused".into()),
            since_ms: Some(1),
            last_seen_ms: None,
        }],
    }
}

fn entry() -> LogEntry {
    LogEntry {
        id: "ab".into(),
        kind: "invite.v1".into(),
        puddle: "cd".into(),
        signer: "cd".into(),
        envoy: None,
        incarnation: "00".into(),
        seq: 3,
        time_ms: Some(4),
        verdict: "void".into(),
        code: Some("not-founder".into()),
        rule: Some(6),
        why: Some("only the founder line invites".into()),
        says: "invites birch comet ladle frost as member".into(),
        prev: Some("ef".into()),
        deps: vec!["12".into()],
        grant: None,
        ungrants: None,
    }
}

fn project() -> ProjectStatus {
    ProjectStatus {
        project_id: "ab".into(),
        handle: "notes".into(),
        founder: "cd".into(),
        founder_name: Some("dan".into()),
        role: None,
        members: 1,
        bytes: u64::MAX,
        refs: 3,
        envelopes: 4,
        head: Some("refs/heads/main".into()),
        last_push_ms: Some(5),
        last_push_envoy: None,
        state: "behind".into(),
        reason: Some("offline".into()),
        diverged: vec!["refs/heads/main".into()],
        versions: vec![VersionStatus {
            name: "refs/heads/main".into(),
            oid: "9c".repeat(20),
            served_as: "refs/envoys/12/heads/main@ab".into(),
            envoy: "titan".into(),
            puddle: "cd".into(),
        }],
        copies: 2,
        envoys: vec![CopyStatus {
            name: "venus".into(),
            key: "ef".into(),
            state: "behind".into(),
            behind: Some(2),
            updates_behind: Some(1),
            reason: None,
            since_ms: None,
        }],
        ref_list: vec![RefStatus {
            name: "refs/heads/main".into(),
            oid: "00".repeat(20),
        }],
        access: Some("member".into()),
        line: vec![HopStatus {
            hop: 1,
            key: "ab".into(),
            fingerprint: "amber otter violin lamp".into(),
            delegate: Some("cd".into()),
        }],
        member_list: vec![MemberStatus {
            puddle: "ab".into(),
            fingerprint: "birch comet ladle frost".into(),
            role: "reader".into(),
            state: "left".into(),
            invite: "cd".into(),
            by: "ef".into(),
            since_ms: Some(6),
            asks_back: true,
        }],
        alarms: vec![AlarmStatus {
            code: "equivocation".into(),
            text: "two envelopes have one number".into(),
        }],
        void: 1,
        successors: vec![SuccessorStatus {
            project: "ab".into(),
            founder: "cd".into(),
            handle: "notes-2".into(),
        }],
        scope: "members".into(),
        protected: vec!["refs/heads/main".into()],
        replicas: Some(3),
        contest: Some(ContestStatus {
            hop: 2,
            rivals: vec![RivalStatus {
                delegate: "ab".into(),
                key: "cd".into(),
                fingerprint: "cobalt heron salt drum".into(),
            }],
        }),
    }
}
