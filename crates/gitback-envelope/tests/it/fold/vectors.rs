//! Runs `tests/vectors/fold`, where each file is one reason to be void and is named by its code, or whole worlds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gitback_envelope::{Envelope, EnvelopeId, Project, Verified, VoidReason};
use gitback_identity::hex;
use serde::Deserialize;

use super::scenes;
use super::stage::Die;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    expect: String,
    case: Vec<Case>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    note: String,
    pins: Vec<String>,
    held_out: Vec<String>,
    envelopes: Vec<String>,
    verdicts: Vec<String>,
    line: Vec<String>,
    members: Vec<String>,
    heads: Vec<String>,
    successors: Vec<String>,
    digest: Vec<String>,
}

fn paths() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(scenes::FOLDER).expect("the vectors are there");
    entries
        .map(|entry| entry.expect("a readable entry").path())
        .collect()
}

fn id(text: &str) -> EnvelopeId {
    text.parse().expect("an id")
}

#[test]
fn every_vector_gives_what_it_expects_in_any_order() {
    for path in paths() {
        let text = fs::read_to_string(&path).expect("a readable vector");
        let file: File = toml::from_str(&text).expect("a well-formed vector");
        assert_eq!(
            path.file_stem().and_then(|stem| stem.to_str()),
            Some(&*file.expect)
        );
        assert!(!file.case.is_empty(), "{} has no case", path.display());
        for case in &file.case {
            case.run();
            let shows = case.verdicts.contains(&file.expect);
            assert!(shows || file.expect == "worlds", "{}", case.note);
        }
    }
}

#[test]
fn every_reason_has_a_vector() {
    let paths = paths();
    for reason in VoidReason::ALL {
        let path = Path::new(scenes::FOLDER).join(format!("{}.toml", reason.code()));
        assert!(paths.contains(&path), "no vector for {}", reason.code());
    }
}

#[test]
fn files_are_what_the_scenes_make() {
    let hint = "run cargo run -p gitback-envelope --example fold-vectors";
    let mut expected = BTreeSet::new();
    for file in scenes::files() {
        let path = Path::new(scenes::FOLDER).join(file.name());
        let text = fs::read_to_string(&path).expect("a readable vector");
        assert!(text == file.text(), "{} differs: {hint}", path.display());
        expected.insert(path);
    }
    assert_eq!(paths(), expected, "{hint}");
}

impl Case {
    fn run(&self) {
        let envelopes: Vec<Verified> = self.envelopes.iter().map(|text| read(text)).collect();
        let mut orders = vec![envelopes.clone(), envelopes.iter().rev().cloned().collect()];
        let mut shuffled = envelopes.clone();
        Die::new(7).shuffle(&mut shuffled);
        orders.push(shuffled);
        for order in orders {
            let project = self.fold(order);
            for (name, found) in scenes::facts(&project, &envelopes) {
                assert_eq!(&found, self.expected(name), "{} in {}", name, self.note);
            }
        }
    }

    fn fold(&self, envelopes: Vec<Verified>) -> Project {
        let first = envelopes.first().expect("an envelope at least");
        let mut project = Project::new(first.statement().project);
        for held_out in &self.held_out {
            let (lie, name) = held_out.split_once(' ').expect("an id and a ref");
            project.hold_out(&id(lie), &name.parse().expect("a ref name"));
        }
        for verified in envelopes {
            project.insert(verified).expect("within the rules");
        }
        for pin in &self.pins {
            let (hop, delegate) = pin.split_once(' ').expect("a hop and an id");
            project.pin(hop.parse().expect("a number"), &id(delegate));
        }
        project
    }

    fn expected(&self, name: &str) -> &Vec<String> {
        match name {
            "verdicts" => &self.verdicts,
            "line" => &self.line,
            "members" => &self.members,
            "heads" => &self.heads,
            "successors" => &self.successors,
            "digest" => &self.digest,
            _ => panic!("{name} is no fact"),
        }
    }
}

fn read(envelope: &str) -> Verified {
    let bytes = hex::decode(envelope, 1 << 20).expect("hex");
    let envelope = Envelope::decode(&bytes).and_then(Envelope::verify);
    envelope.expect("an envelope that holds")
}
