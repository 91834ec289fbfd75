//! What git can do to refs reaches every envoy.

use crate::world::{
    clone, commit, done, fails, fleet, local, notes, push_all, says, served, wait_for_copies,
};

const NOTES: &str = "gitback://dan/notes";

#[test]
fn forced_and_deleting_pushes_replicate() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);

    done(mars.git(&work, ["reset", "--quiet", "--hard", "HEAD~3"]));
    commit(mars, &work, "another history");
    let refused = fails(mars.git(&work, ["push", "gitback", "main"]), 1);
    says(&refused, &["non-fast-forward"]);
    done(mars.git(&work, ["push", "--force", "gitback", "main"]));
    done(mars.git(&work, ["branch", "--quiet", "-D", "topic/1"]));
    done(mars.git(&work, ["tag", "--delete", "v1"]));
    done(mars.git(&work, ["push", "gitback", ":topic/1", ":refs/tags/v1"]));

    wait_for_copies(mars, 2);
    assert_eq!(served(mars, NOTES), local(mars, &work));
    assert_eq!(served(venus, NOTES), local(mars, &work));
}

#[test]
fn a_branch_may_become_a_folder_of_branches() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    done(mars.git(&work, ["push", "gitback", "main", "main:refs/heads/a"]));
    done(mars.git(
        &work,
        ["push", "gitback", ":refs/heads/a", "main:refs/heads/a/b"],
    ));
    wait_for_copies(mars, 2);
    assert_eq!(served(venus, NOTES), served(mars, NOTES));
    assert!(served(venus, NOTES).contains_key("refs/heads/a/b"));
}

#[test]
fn what_is_pushed_on_one_envoy_is_fetched_on_another() {
    let fleet = fleet(2);
    let work = notes(&fleet);
    let (mars, venus) = (fleet.person(0), fleet.person(1));
    push_all(mars, &work);
    let theirs = clone(venus, "clone");
    commit(mars, &work, "made on mars");
    done(mars.git(&work, ["push", "gitback", "main"]));

    // Somebody who has not fetched is told to, as with any git server.
    commit(venus, &theirs, "made on venus");
    let refused = fails(venus.git(&theirs, ["push", "origin", "main"]), 1);
    says(&refused, &["rejected", "fetch first"]);
    done(venus.git(
        &theirs,
        [
            "pull",
            "--quiet",
            "--no-rebase",
            "--no-edit",
            "-X",
            "ours",
            "origin",
            "main",
        ],
    ));
    done(venus.git(&theirs, ["push", "origin", "main"]));
    wait_for_copies(venus, 2);
    assert_eq!(served(mars, NOTES), served(venus, NOTES));
}

#[test]
fn shallow_and_partial_clones_work() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    push_all(mars, &work);
    done(mars.git(
        mars.root(),
        ["clone", "--quiet", "--depth=3", NOTES, "shallow"],
    ));
    let counted = done(mars.git(
        &mars.root().join("shallow"),
        ["rev-list", "--count", "HEAD"],
    ));
    assert_eq!(counted.stdout.trim(), "3");
    done(mars.git(
        mars.root(),
        ["clone", "--quiet", "--filter=blob:none", NOTES, "partial"],
    ));
    let shown = done(mars.git(&mars.root().join("partial"), ["show", "HEAD~9:d1/f1.txt"]));
    assert!(
        shown.stdout.starts_with("line 0 of file 1"),
        "{}",
        shown.stdout
    );
}

#[test]
fn reserved_names_are_refused_and_the_rest_is_pushed() {
    let fleet = fleet(1);
    let work = notes(&fleet);
    let mars = fleet.person(0);
    let refspecs = ["main", "main:refs/envoys/x/main", "main:refs/gitback/x"];
    let said = fails(
        mars.git(&work, ["push", "gitback"].iter().chain(&refspecs)),
        1,
    );
    says(&said, &["reserved", "main -> main"]);
    assert_eq!(
        served(mars, NOTES).keys().collect::<Vec<_>>(),
        ["refs/heads/main"]
    );
}
