use gitback_helper::{
    CopyStatus, Draft, EnvoyStatus, Failure, PeerStatus, ProjectStatus, RefStatus, Reply, Request,
    Service,
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
        r#"{"do":"open","version":1,"service":"receive_pack","project":"ab","handle":"notes","puddle":"cd",
            "protocol":null,"push_wait_ms":3000,"quiet":true,"progress":false}"#,
        Request::Open {
            version: 1,
            service: Service::ReceivePack,
            project: text("ab"),
            handle: text("notes"),
            puddle: Some(text("cd")),
            protocol: None,
            push_wait_ms: Some(3000),
            quiet: true,
            progress: false,
        },
    );
    check(
        r#"{"do":"draft","project":"ab","handle":"notes","puddle":"cd"}"#,
        Request::Draft {
            project: text("ab"),
            handle: text("notes"),
            puddle: text("cd"),
        },
    );
    check(
        r#"{"do":"found","envelope":"00"}"#,
        Request::Found {
            envelope: text("00"),
        },
    );
    check(
        r#"{"do":"submit","project":"ab","envelope":"00"}"#,
        Request::Submit {
            project: text("ab"),
            envelope: text("00"),
        },
    );
    check(
        r#"{"do":"bootstrap","project":"ab","init":"00","grant":"11"}"#,
        Request::Bootstrap {
            project: text("ab"),
            init: text("00"),
            grant: text("11"),
        },
    );
    check(r#"{"do":"envoy"}"#, Request::Envoy);
    check(r#"{"do":"projects"}"#, Request::Projects);
    check(
        r#"{"do":"project","project":"ab"}"#,
        Request::Project {
            project: text("ab"),
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
        },
        Reply::Draft(draft()),
        Reply::NeedGrant {
            draft: draft(),
            founder: "ab".into(),
            handle: "notes".into(),
        },
        Reply::NeedToken { draft: draft() },
        Reply::Progress {
            text: "asking venus".into(),
        },
        Reply::Envoy(envoy()),
        Reply::Projects(vec![project()]),
        Reply::Project(project()),
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
        copies: 2,
        envoys: vec![CopyStatus {
            name: "venus".into(),
            key: "ef".into(),
            state: "behind".into(),
            behind: Some(2),
            reason: None,
            since_ms: None,
        }],
        ref_list: vec![RefStatus {
            name: "refs/heads/main".into(),
            oid: "00".repeat(20),
        }],
    }
}
