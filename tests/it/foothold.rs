//! A clone at an envoy that has never seen the project.

use std::path::Path;

use gitback_tests::Fleet;

use crate::world::{clone, clones_the_same, fails, notes, options, push_all, says, served, status};

/// Mars knows of nobody, so nothing reaches venus by itself; venus knows mars.
fn one_way() -> Fleet {
    let fleet = Fleet::prepare(options(2)).expect("roots");
    let mars = fleet.envoy(0);
    let alone = format!(
        "name = \"mars\"\nlisten = \"{}\"\nmin_free_percent = 0\n",
        mars.address()
    );
    std::fs::write(mars.config_file(), alone).expect("mars' configuration");
    let mut fleet = fleet.started().expect("the fleet starts");
    fleet.make_puddle("dan").expect("dan's puddle");
    fleet
}

#[test]
fn brings_the_project_in_keeps_it_and_serves_it() {
    let mut fleet = one_way();
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    let venus = fleet.person(1).clone();
    assert!(
        !project_dir(&fleet, 1).exists(),
        "venus has no foothold yet"
    );

    clones_the_same(&venus, fleet.person(0), &work);
    fleet.envoy_mut(0).lose().expect("mars is lost");
    clone(&venus, "again");
}

#[test]
fn the_full_address_works_as_the_name_does() {
    let fleet = one_way();
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    let id = status(fleet.person(0))["project_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let full = format!("gitback://{id}/notes");
    assert_eq!(
        served(fleet.person(1), &full),
        served(fleet.person(0), "gitback://dan/notes")
    );
}

#[test]
fn with_no_holder_reachable_it_names_them() {
    let mut fleet = one_way();
    let work = notes(&fleet);
    push_all(fleet.person(0), &work);
    fleet.envoy_mut(0).kill().expect("mars is switched off");
    let venus = fleet.person(1);
    let said = fails(
        venus.git(venus.root(), ["clone", "gitback://dan/notes", "clone"]),
        128,
    );
    says(&said, &["error: ", "mars", "hint: "]);
    assert!(!venus.root().join("clone").exists());
    assert!(!project_dir(&fleet, 1).exists(), "nothing half-made stays");
}

/// Where an envoy keeps its bare repositories, once it has any.
fn project_dir(fleet: &Fleet, index: usize) -> std::path::PathBuf {
    let all = fleet
        .envoy(index)
        .root()
        .join("var/lib/vigo/swarm/gitback/projects");
    let first = |dir: &Path| {
        std::fs::read_dir(dir)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .next()
    };
    first(&all).unwrap_or_else(|| all.join("none"))
}
