use super::*;

fn full(digests: &Digests) -> Comparison {
    Comparison::Full(digests.clone())
}

fn decode(json: &[u8]) -> Result<Digests, Reject> {
    match Comparison::decode(json)? {
        Comparison::Full(digests) => Ok(digests),
        Comparison::Summary { .. } => panic!("a summary"),
    }
}

#[test]
fn digests_round_trip_and_look_as_specified() {
    let digests = Digests {
        name: "mars".to_owned(),
        projects: vec![(ProjectId::from_bytes(&[1; 32]), [0xab; 32])],
        roster: None,
        names: Some([0xcd; 32]),
    };
    let json = full(&digests).encode().expect("small");
    let expected = format!(
        r#"{{"name":"mars","projects":[["{}","{}"]],"names":"{}"}}"#,
        "01".repeat(32),
        "ab".repeat(32),
        "cd".repeat(32)
    );
    assert_eq!(String::from_utf8_lossy(&json), expected);
    assert_eq!(decode(&json).expect("own bytes"), digests);
}

#[test]
fn the_most_projects_fit() {
    let digests = Digests {
        name: "n".repeat(NAME_MAX),
        projects: vec![(ProjectId::from_bytes(&[0xff; 32]), [0xff; 32]); PROJECTS_MAX],
        roster: Some([0xff; 32]),
        names: Some([0xff; 32]),
    };
    assert_eq!(
        decode(&full(&digests).encode().expect("fits")).expect("own bytes"),
        digests
    );
}

#[test]
fn refuses_bad_digests() {
    let code = |json: &str| decode(json.as_bytes()).unwrap_err().code();
    assert_eq!(code("{"), "malformed");
    assert_eq!(code(r#"{"name":"x"}"#), "malformed");
    let short = r#"{"name":"x","projects":[["00","00"]]}"#;
    assert_eq!(code(short), "malformed");
    let upper = format!(
        r#"{{"name":"x","projects":[["{0}","{0}"]]}}"#,
        "AB".repeat(32)
    );
    assert_eq!(code(&upper), "malformed");
    assert_eq!(code(r#"{"name":"a\u001bb","projects":[]}"#), "malformed");
    let long = format!(r#"{{"name":"{}","projects":[]}}"#, "n".repeat(NAME_MAX + 1));
    assert_eq!(code(&long), "malformed");
    let pair = format!(r#"["{0}","{0}"]"#, "00".repeat(32));
    let pairs = vec![pair; PROJECTS_MAX + 1].join(",");
    let many = format!(r#"{{"name":"x","projects":[{pairs}]}}"#);
    assert_eq!(code(&many), "too-many");
    assert_eq!(code(&" ".repeat(DIGESTS_MAX + 1)), "too-long");
}

#[test]
fn ignores_fields_of_a_later_version() {
    let json = r#"{"name":"x","projects":[],"later":{"a":[1]}}"#;
    assert!(decode(json.as_bytes()).is_ok());
}

#[test]
fn a_summary_says_the_list_in_any_order_and_nothing_else() {
    let pair = |seed| (ProjectId::from_bytes(&[seed; 32]), [seed ^ 9; 32]);
    let digests = |name: &str, projects| Digests {
        name: name.to_owned(),
        projects,
        ..Digests::default()
    };
    let summary = digests("mars", vec![pair(1), pair(2)]).summary();
    assert_eq!(digests("venus", vec![pair(2), pair(1)]).summary(), summary);
    assert_ne!(digests("mars", vec![pair(1)]).summary(), summary);
    let mut other = vec![pair(1), pair(2)];
    other[1].1[31] ^= 1;
    assert_ne!(digests("mars", other).summary(), summary);
    // By `printf '' | sha256sum`.
    assert_eq!(
        gitback_identity::hex::encode(&digests("", Vec::new()).summary()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn the_short_forms_round_trip_and_look_as_specified() {
    let asked = Comparison::Summary {
        name: "mars".to_owned(),
        summary: [0xab; 32],
        roster: Some([0xef; 32]),
        names: Some([0xcd; 32]),
    };
    let json = asked.encode().expect("small");
    let expected = format!(
        r#"{{"name":"mars","summary":"{}","roster":"{}","names":"{}"}}"#,
        "ab".repeat(32),
        "ef".repeat(32),
        "cd".repeat(32)
    );
    assert_eq!(String::from_utf8_lossy(&json), expected);
    assert_eq!(Comparison::decode(&json).expect("own bytes"), asked);
    let answer = Compared::Summary {
        name: "venus".to_owned(),
        same: true,
        roster: None,
        names: None,
    };
    let json = answer.encode().expect("small");
    assert_eq!(json, br#"{"name":"venus","same":true}"#);
    assert_eq!(Compared::decode(&json).expect("own bytes"), answer);
    for roster in [[0xcd; 32], [0; 32]] {
        let with = Comparison::Summary {
            name: "mars".to_owned(),
            summary: [0xab; 32],
            roster: Some(roster),
            names: None,
        };
        let json = with.encode().expect("small");
        assert_eq!(Comparison::decode(&json).expect("own bytes"), with);
        let list = Digests {
            name: "mars".to_owned(),
            projects: Vec::new(),
            roster: Some(roster),
            names: None,
        };
        let json = full(&list).encode().expect("small");
        assert_eq!(decode(&json).expect("own bytes"), list);
    }
    let bad = r#"{"name":"mars","projects":[],"roster":"00"}"#;
    assert_eq!(
        Comparison::decode(bad.as_bytes()).unwrap_err().code(),
        "malformed"
    );
    let bad = r#"{"name":"a\u001bb","same":true}"#;
    assert_eq!(
        Compared::decode(bad.as_bytes()).unwrap_err().code(),
        "malformed"
    );
    let bad = r#"{"name":"mars","summary":"00"}"#;
    assert_eq!(
        Comparison::decode(bad.as_bytes()).unwrap_err().code(),
        "malformed"
    );
}
