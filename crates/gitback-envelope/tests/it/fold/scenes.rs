//! Where the files in `tests/vectors/fold` come from: for each reason to be void the smallest scenes that show it, and
//! whole worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use gitback_envelope::{
    Act, EnvelopeId, MembershipState, Project, RefName, Role, Scope, Verdict, Verified, VoidReason,
};
use gitback_identity::hex;

use super::modelled::modelled;
use super::play::play;
use super::stage::Die;
use super::world::{Author, club, key, project_id, union};

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/fold");

const MAIN: &str = "refs/heads/main";

/// One file: one reason, or whole worlds.
pub(crate) struct File {
    expect: String,
    about: String,
    scenes: Vec<Scene>,
}

pub(crate) struct Scene {
    note: String,
    envelopes: Vec<Verified>,
    pins: BTreeMap<u64, EnvelopeId>,
    /// Updates, each with the ref about which it lies.
    held_out: BTreeSet<(EnvelopeId, RefName)>,
}

/// A scene and the envelope in it that is void.
type Shown = (Scene, EnvelopeId);

pub(crate) fn files() -> Vec<File> {
    let mut files: Vec<_> = VoidReason::ALL.into_iter().map(reason_file).collect();
    files.push(worlds());
    files
}

fn reason_file(reason: VoidReason) -> File {
    let shown = scenes_of(reason);
    for (scene, id) in &shown {
        let verdict = scene.fold().verdict(id);
        assert_eq!(verdict, Verdict::Void(reason), "{}", scene.note);
    }
    File {
        expect: reason.code().to_owned(),
        about: format!("Rule {}: {reason}.", reason.rule()),
        scenes: shown.into_iter().map(|(scene, _)| scene).collect(),
    }
}

fn scenes_of(reason: VoidReason) -> Vec<Shown> {
    match reason {
        VoidReason::NotMember => not_member(),
        VoidReason::NotGranted => not_granted(),
        VoidReason::Ungranted => ungranted(),
        VoidReason::NotFounder => not_founder(),
        VoidReason::NotYetHeir => not_yet_heir(),
        VoidReason::Retired => retired(),
        VoidReason::Revoked => revoked(),
        VoidReason::Left => left(),
        VoidReason::Ended => ended(),
        VoidReason::Reader => reader(),
        VoidReason::NoInvite => no_invite(),
        VoidReason::NotInvited => not_invited(),
        VoidReason::NotJoined => not_joined(),
        VoidReason::NotLeft => not_left(),
        VoidReason::Recut => recut(),
        VoidReason::WrongHop => wrong_hop(),
        VoidReason::HopLimit => hop_limit(),
        VoidReason::KeyTwice => key_twice(),
        VoidReason::NotCommitted => not_committed(),
        VoidReason::Contested => contested(),
        VoidReason::NotPicked => not_picked(),
        VoidReason::Protected => protected(),
        VoidReason::HeldOut => held_out(),
        // A reason without a scene.
        _ => vec![],
    }
}

fn heir(hop: u8) -> Author {
    Author::person(30 + hop)
}

fn scene(note: &str, authors: &[&Author]) -> Scene {
    let all = union(authors);
    Scene {
        note: note.to_owned(),
        envelopes: all.iter().cloned().collect(),
        pins: BTreeMap::new(),
        held_out: BTreeSet::new(),
    }
}

fn not_member() -> Vec<Shown> {
    let mut eve = Author::person(66);
    let moved = eve.push(MAIN, 1);
    let mut founder = Author::founder();
    let mut mia = Author::person(20);
    founder.invite(mia.puddle, Role::Member);
    mia.meet(&founder);
    let early = mia.push(MAIN, 1);
    vec![
        (scene("a stranger pushes", &[&eve]), moved),
        (
            scene("one who was invited pushes before joining", &[&mia]),
            early,
        ),
    ]
}

fn not_granted() -> Vec<Shown> {
    let mut club = club();
    let mut mars = Author::daemon(11, &club.mia);
    mars.meet(&club.mia);
    let early = mars.push(MAIN, 1);
    club.mia.grant(&mars, 7, None);
    let mut for_nico = Author::daemon(11, &club.nico);
    for_nico.meet(&club.mia);
    let wrong = for_nico.push(MAIN, 2);
    vec![
        (
            scene("an envoy signs beside its grant", &[&mars, &club.mia]),
            early,
        ),
        (
            scene("an envoy signs for another puddle", &[&for_nico]),
            wrong,
        ),
    ]
}

fn ungranted() -> Vec<Shown> {
    let mut club = club();
    let mut mars = Author::daemon(11, &club.mia);
    club.mia.grant(&mars, 7, None);
    mars.meet(&club.mia);
    mars.push(MAIN, 1);
    club.mia.meet(&mars);
    club.mia.ungrant(&mars);
    let unseen = mars.push(MAIN, 2);
    vec![(
        scene(
            "of two pushes the ungrant has seen the first",
            &[&club.mia, &mars],
        ),
        unseen,
    )]
}

fn not_founder() -> Vec<Shown> {
    let mut club = club();
    let invite = club.mia.invite(key(40), Role::Member);
    let one = scene("a member invites", &[&club.mia]);
    let mut club = super::world::club();
    let revoke = club.mia.revoke_at(club.nicos, vec![]);
    let two = scene("a member throws another one out", &[&club.mia]);
    let mut eve = Author::person(66);
    let tombstone = eve.tombstone_at("evil", vec![]);
    let three = scene("a stranger ends the project", &[&eve]);
    vec![(one, invite), (two, revoke), (three, tombstone)]
}

fn not_yet_heir() -> Vec<Shown> {
    let mut founder = Author::founder();
    let mut early = heir(1);
    founder.delegate(1, &early);
    let invite = early.invite(key(40), Role::Member);
    vec![(
        scene("an heir invites beside its delegation", &[&founder, &early]),
        invite,
    )]
}

fn retired() -> Vec<Shown> {
    let mut club = club();
    club.founder.delegate(1, &heir(1));
    let mut thief = club.founder.thief().elsewhere(66);
    let revoke = thief.revoke_at(club.mias, vec![]);
    let one = scene(
        "an old key throws a member out, from no past",
        &[&club.founder, &thief],
    );
    let tombstone = club.founder.tombstone("evil");
    let two = scene("an old key ends the project", &[&club.founder]);
    vec![(one, revoke), (two, tombstone)]
}

fn revoked() -> Vec<Shown> {
    let mut club = club();
    let before = club.mia.copy();
    club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    club.founder.revoke(club.mias);
    let unseen = club.mia.push(MAIN, 2);
    let one = scene(
        "of two pushes the revocation has seen the first",
        &[&club.founder, &club.mia],
    );
    let mut forker = before;
    let forked = forker.push(MAIN, 3);
    let two = scene(
        "a chain that is forked below the cut does not get inside it",
        &[&club.founder, &forker],
    );
    club.mia.meet(&club.founder);
    let again = club.mia.join(club.mias);
    let three = scene("an old invitation is used again", &[&club.mia]);
    vec![(one, unseen), (two, forked), (three, again)]
}

fn left() -> Vec<Shown> {
    let mut club = club();
    club.mia.push(MAIN, 1);
    club.mia.leave(club.mias);
    let moved = club.mia.push(MAIN, 2);
    vec![(scene("a push after leaving", &[&club.mia]), moved)]
}

fn ended() -> Vec<Shown> {
    let mut club = club();
    club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    club.founder.tombstone("notes-2");
    let unseen = club.mia.push(MAIN, 2);
    let one = scene(
        "of two pushes the tombstone has seen the first",
        &[&club.founder, &club.mia],
    );
    let invite = club.founder.invite(key(40), Role::Member);
    let two = scene("an invitation after the end", &[&club.founder]);
    vec![(one, unseen), (two, invite)]
}

fn reader() -> Vec<Shown> {
    let mut founder = Author::founder();
    let mut rita = Author::person(22);
    let invite = founder.invite(rita.puddle, Role::Reader);
    rita.meet(&founder);
    rita.join(invite);
    let moved = rita.push(MAIN, 1);
    vec![(scene("a reader pushes", &[&rita]), moved)]
}

fn no_invite() -> Vec<Shown> {
    let club = club();
    let mut mia = Author::person(20).elsewhere(99);
    let blind = mia.join(club.mias);
    vec![(
        scene(
            "a join whose author has not seen the invitation",
            &[&club.founder, &mia],
        ),
        blind,
    )]
}

fn not_invited() -> Vec<Shown> {
    let mut club = club();
    let mut eve = Author::person(66);
    eve.meet(&club.founder);
    let join = eve.join(club.mias);
    let one = scene("a stranger joins by somebody's invitation", &[&eve]);
    let leave = club.nico.leave(club.mias);
    let two = scene("a member leaves for another one", &[&club.nico]);
    vec![(one, join), (two, leave)]
}

fn not_joined() -> Vec<Shown> {
    let mut founder = Author::founder();
    let mut mia = Author::person(20);
    let invite = founder.invite(mia.puddle, Role::Member);
    mia.meet(&founder);
    let leave = mia.leave(invite);
    vec![(scene("one leaves who has not joined", &[&mia]), leave)]
}

fn not_left() -> Vec<Shown> {
    let mut club = club();
    let asks = club.mia.rejoin(club.mias);
    vec![(scene("a member asks back in", &[&club.mia]), asks)]
}

fn recut() -> Vec<Shown> {
    let mut club = club();
    club.mia.push(MAIN, 1);
    club.founder.meet(&club.mia);
    club.founder.revoke(club.mias);
    let again = club.founder.revoke_at(club.mias, vec![]);
    vec![(
        scene("a second revocation with a smaller cut", &[&club.founder]),
        again,
    )]
}

fn wrong_hop() -> Vec<Shown> {
    let mut founder = Author::founder();
    let skipped = founder.delegate(2, &heir(1));
    vec![(scene("a hop is skipped", &[&founder]), skipped)]
}

fn hop_limit() -> Vec<Shown> {
    let mut last = Author::founder();
    for hop in 1..=5 {
        let mut next = heir(hop);
        last.delegate(hop.into(), &next);
        next.meet(&last);
        last = next;
    }
    let sixth = last.delegate(6, &heir(6));
    vec![(scene("a sixth hop", &[&last]), sixth)]
}

fn key_twice() -> Vec<Shown> {
    let mut founder = Author::founder();
    let itself = founder.copy();
    let to_itself = founder.delegate(1, &itself);
    let one = scene("a delegation to oneself", &[&founder]);
    let mut founder = Author::founder();
    let mut first = heir(1);
    founder.delegate(1, &first);
    first.meet(&founder);
    let back = first.delegate(2, &founder);
    let two = scene("a delegation back to the genesis key", &[&first]);
    vec![(one, to_itself), (two, back)]
}

fn not_committed() -> Vec<Shown> {
    let mut founder = Author::founder();
    let mut first = heir(1);
    let cut = founder.view.cut();
    founder.delegate_with(1, &first, Some(&heir(2)), cut);
    first.meet(&founder);
    let wrong = first.delegate(2, &Author::person(66));
    vec![(scene("the heir chooses another heir", &[&first]), wrong)]
}

/// Two delegations of hop 1.
fn stolen() -> (Author, Author, EnvelopeId, EnvelopeId) {
    let mut founder = Author::founder();
    let mut thief = founder.thief().elsewhere(66);
    let right = founder.delegate(1, &heir(1));
    let wrong = thief.delegate_with(1, &Author::person(66), None, vec![]);
    (founder, thief, right, wrong)
}

fn contested() -> Vec<Shown> {
    let (founder, thief, right, _) = stolen();
    vec![(
        scene(
            "two delegations of one hop, and no pin",
            &[&founder, &thief],
        ),
        right,
    )]
}

fn not_picked() -> Vec<Shown> {
    let (founder, thief, right, wrong) = stolen();
    let mut one = scene("two delegations of one hop, and a pin", &[&founder, &thief]);
    one.pins.insert(1, right);
    let mut two = scene("the pinned delegation is not here", &[&thief]);
    two.pins.insert(1, right);
    vec![(one, wrong), (two, wrong)]
}

fn protected() -> Vec<Shown> {
    let mut founder = Author::founder();
    founder.policy(Scope::SwarmWide, &[MAIN]);
    founder.push(MAIN, 1);
    let mut other = founder.copy();
    let forced = founder.force(MAIN, 2);
    let one = scene("a protected ref is forced", &[&founder]);
    let deleted = other.delete(MAIN);
    let two = scene("a protected ref is deleted", &[&other]);
    vec![(one, forced), (two, deleted)]
}

fn held_out() -> Vec<Shown> {
    let mut founder = Author::founder();
    founder.push(MAIN, 1);
    let lie = founder.push(MAIN, 2);
    let mut scene = scene("an update lies about the git graph", &[&founder]);
    scene
        .held_out
        .insert((lie, MAIN.parse().expect("a ref name")));
    vec![(scene, lie)]
}

/// Worlds of all kinds, and worlds that the executable model has judged alike.
fn worlds() -> File {
    let mut scenes = Vec::new();
    for seed in 0..12 {
        let world = modelled(seed, 18);
        scenes.push(Scene {
            note: format!("a world that the model knows, {seed}"),
            envelopes: world.all,
            pins: world.pins,
            held_out: BTreeSet::new(),
        });
    }
    for seed in 0..12 {
        let mut die = Die::new(seed);
        let steps: Vec<_> = (0..18).map(|_| die.number()).collect();
        let world = play(seed, &steps);
        scenes.push(Scene {
            note: format!("a world of every kind, {seed}"),
            envelopes: world.all,
            pins: world.pins,
            held_out: world.lies,
        });
    }
    File {
        expect: "worlds".to_owned(),
        about: "Whole worlds, made at random.".to_owned(),
        scenes,
    }
}

impl Scene {
    fn fold(&self) -> Project {
        let mut project = Project::with_pins(project_id(), self.pins.clone());
        for (id, name) in &self.held_out {
            project.hold_out(id, name);
        }
        for verified in &self.envelopes {
            project.insert(verified.clone()).expect("within the rules");
        }
        project
    }
}

impl File {
    pub(crate) fn name(&self) -> String {
        format!("{}.toml", self.expect)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("# {}\n\nexpect = \"{}\"\n", self.about, self.expect);
        for scene in &self.scenes {
            let _ = writeln!(text, "\n[[case]]\nnote = \"{}\"", scene.note);
            let pins = scene.pins.iter().map(|(hop, id)| format!("{hop} {id}"));
            list(&mut text, "pins", pins);
            let lies = scene.held_out.iter();
            let held_out = lies.map(|(id, name)| format!("{id} {name}"));
            list(&mut text, "held_out", held_out);
            let bytes = scene.envelopes.iter().map(Verified::bytes);
            list(&mut text, "envelopes", bytes.map(hex::encode));
            for (name, lines) in facts(&scene.fold(), &scene.envelopes) {
                list(&mut text, name, lines);
            }
        }
        text
    }
}

/// What must come out: the verdicts in the order of the envelopes, then the state.
pub(crate) fn facts(project: &Project, envelopes: &[Verified]) -> Vec<(&'static str, Vec<String>)> {
    let verdict = |verified: &Verified| match project.verdict(verified.id()) {
        Verdict::Valid => "valid",
        Verdict::Void(reason) => reason.code(),
        Verdict::Waiting => "waiting",
        Verdict::Unknown => "unknown",
    };
    let verdicts = envelopes
        .iter()
        .map(|verified| verdict(verified).to_owned());
    let line = project.line().iter().map(|hop| hop.key.to_string());
    let members = project.memberships().into_iter().map(|one| {
        let role = match one.role {
            Role::Member => "member",
            Role::Reader => "reader",
        };
        let state = match one.state {
            MembershipState::Open => "open",
            MembershipState::Live { .. } => "live",
            MembershipState::Left { .. } => "left",
            MembershipState::Revoked { .. } => "revoked",
        };
        format!("{} {} {role} {state}", one.invite, one.puddle)
    });
    let mut names = BTreeSet::new();
    for verified in envelopes {
        if let Act::Update(update) = &verified.statement().act {
            names.extend(update.changes.iter().map(|change| &change.name));
        }
    }
    let heads = names.into_iter().flat_map(|name| {
        let heads = project.heads_of(name).into_iter();
        heads.map(move |head| format!("{name} {} {}", head.oid, head.update))
    });
    let successors = project.successors().into_iter();
    let successors = successors.map(|one| format!("{} {}", one.founder, one.handle));
    vec![
        ("verdicts", verdicts.collect()),
        ("line", line.collect()),
        ("members", members.collect()),
        ("heads", heads.collect()),
        ("successors", successors.collect()),
        ("digest", vec![hex::encode(&project.digest())]),
    ]
}

fn list(text: &mut String, name: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<_> = lines.into_iter().collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "{name} = [");
    for line in lines {
        let _ = writeln!(text, "  \"{line}\",");
    }
    text.push_str("]\n");
}
