//! How much of those who may do nothing is kept.

use gitback_envelope::{
    Act, CHANGES_MAX, Change, EnvelopeId, Inserted, Oid, Project, RefName, Reject, Role,
    STRANGERS_VOID_MAX, Update, VOID_MAX, Verified,
};

use super::world::{Author, club, key, union};

const MAIN: &str = "refs/heads/main";

/// Merges of one author, each after the one before and nothing else.
struct Flood<'a> {
    author: &'a Author,
    last: Option<(u64, EnvelopeId)>,
    deps: Vec<EnvelopeId>,
}

impl<'a> Flood<'a> {
    fn new(author: &'a Author, incarnation: u8) -> (Self, [u8; 16]) {
        let flood = Self {
            author,
            last: None,
            deps: vec![*super::world::init().id()],
        };
        (flood, [incarnation; 16])
    }

    fn next(&mut self, incarnation: [u8; 16]) -> Verified {
        let mut statement = self.author.draft(Act::Merge);
        statement.incarnation = gitback_envelope::Incarnation::from_bytes(&incarnation);
        statement.seq = self.last.map_or(0, |(seq, _)| seq + 1);
        statement.prev = self.last.map(|(_, id)| id);
        statement.deps = self.deps.clone();
        let verified = self.author.seal(statement);
        self.last = Some((verified.statement().seq, *verified.id()));
        verified
    }
}

/// Puts `count` meaningless envelopes of `author` in.
fn flood(project: &mut Project, author: &Author, incarnation: u8, count: usize) {
    let (mut flood, incarnation) = Flood::new(author, incarnation);
    for _ in 0..count {
        let inserted = project.insert(flood.next(incarnation));
        assert!(matches!(inserted, Ok(Inserted::Folded(_))), "{inserted:?}");
    }
}

fn one_more(project: &mut Project, author: &Author, incarnation: u8) -> Result<Inserted, Reject> {
    let (mut flood, incarnation) = Flood::new(author, incarnation);
    project.insert(flood.next(incarnation))
}

#[test]
fn strangers_share_one_quota_and_take_nothing_from_those_who_belong() {
    let mut club = club();
    let (eve, mallory) = (Author::person(66), Author::person(67));
    let mut all = union(&[&club.founder]);
    flood(&mut all, &eve, 1, STRANGERS_VOID_MAX - 10);
    flood(&mut all, &mallory, 2, 10);
    assert_eq!(all.void_len(), STRANGERS_VOID_MAX);
    assert_eq!(one_more(&mut all, &eve, 3), Err(Reject::VoidFull));
    assert_eq!(one_more(&mut all, &mallory, 3), Err(Reject::VoidFull));
    let third = Author::person(68);
    assert_eq!(one_more(&mut all, &third, 3), Err(Reject::VoidFull));
    // What is refused leaves no trace.
    assert_eq!(all.void_len(), STRANGERS_VOID_MAX);
    assert_eq!(all.missing(), []);

    // A member goes on, with what counts and with what does not.
    let counting = club.mia.push(MAIN, 1);
    let void = club.mia.invite(key(40), Role::Member);
    for id in [counting, void] {
        let verified = club.mia.view.get(&id).expect("here").clone();
        assert!(matches!(all.insert(verified), Ok(Inserted::Folded(_))));
    }
    assert_eq!(all.void_len(), STRANGERS_VOID_MAX + 1);

    // What somebody waits for is taken in all the same.
    let (mut more, incarnation) = Flood::new(&mallory, 4);
    let wanted = more.next(incarnation);
    let mut statement = club.mia.draft(Act::Merge);
    statement.deps.push(*wanted.id());
    statement.deps.sort();
    let naming = club.mia.seal(statement);
    assert_eq!(all.insert(naming), Ok(Inserted::Waiting));
    let folded = all.insert(wanted);
    assert!(
        matches!(&folded, Ok(Inserted::Folded(ids)) if ids.len() == 2),
        "{folded:?}"
    );

    // And what a cut names.
    let (mut more, incarnation) = Flood::new(&mallory, 5);
    let named = more.next(incarnation);
    club.founder.revoke_at(club.nicos, vec![*named.id()]);
    for verified in club.founder.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
    }
    let folded = all.insert(named);
    assert!(matches!(folded, Ok(Inserted::Folded(_))), "{folded:?}");
    assert_eq!(
        all.insert(more.next(incarnation)),
        Err(Reject::VoidFull),
        "what follows it was named by nobody"
    );

    // Whoever is invited is no stranger any more.
    let invite = club.founder.invite(third.puddle, Role::Member);
    let invite = club.founder.view.get(&invite).expect("here").clone();
    all.insert(invite).expect("within the rules");
    let taken = one_more(&mut all, &third, 3);
    assert!(matches!(taken, Ok(Inserted::Folded(_))), "{taken:?}");
}

#[test]
fn what_follows_an_unknown_kind_of_a_stranger_falls_under_the_quota_too() {
    let club = club();
    let mut eve = Author::person(66);
    let unknown = eve.say_unknown();
    let mut all = union(&[&club.founder, &eve]);
    let (mut flood, incarnation) = Flood::new(&eve, 1);
    flood.deps = vec![unknown];
    for _ in 1..STRANGERS_VOID_MAX {
        let inserted = all.insert(flood.next(incarnation));
        assert!(matches!(inserted, Ok(Inserted::Folded(_))), "{inserted:?}");
    }
    assert_eq!(all.insert(flood.next(incarnation)), Err(Reject::VoidFull));
    assert_eq!(all.void_len(), 0, "they wait for an upgrade");
    let mut nobody = Author::person(67);
    nobody.push(MAIN, 1);
    let void = nobody.view.iter().last().expect("the push").clone();
    assert_eq!(all.insert(void), Err(Reject::VoidFull));
}

#[test]
fn each_puddle_that_lost_its_place_has_a_quota_of_its_own() {
    let mut club = club();
    let moved = club.mia.push(MAIN, 1);
    let unseen = club.mia.push(MAIN, 2);
    let mut all = union(&[&club.mia]);
    club.founder.revoke_at(club.mias, vec![moved]);
    club.founder.revoke(club.nicos);
    assert_eq!(all.void_len(), 0);
    for verified in club.founder.view.iter() {
        all.insert(verified.clone()).expect("within the rules");
    }
    assert_eq!(all.void_len(), 1, "{unseen}");
    // Her join counts against her as well: she may write any number of those.
    flood(&mut all, &club.mia, 1, VOID_MAX - 2);
    assert_eq!(one_more(&mut all, &club.mia, 2), Err(Reject::VoidFull));
    let taken = one_more(&mut all, &club.nico, 1);
    assert!(matches!(taken, Ok(Inserted::Folded(_))), "{taken:?}");
    let taken = one_more(&mut all, &Author::person(66), 1);
    assert!(matches!(taken, Ok(Inserted::Folded(_))), "{taken:?}");

    // Let in again, she has all the room there is.
    let again = club.founder.invite(club.mia.puddle, Role::Member);
    let invite = club.founder.view.get(&again).expect("here").clone();
    all.insert(invite).expect("within the rules");
    assert_eq!(one_more(&mut all, &club.mia, 2), Err(Reject::VoidFull));
    // Only her own join, and only after the invitation, ends the time in which she may do nothing.
    let mut blind = club.mia.elsewhere(7).draft(Act::Join { invite: again });
    blind.deps = vec![*super::world::init().id()];
    let blind = club.mia.seal(blind);
    assert_eq!(all.insert(blind), Err(Reject::VoidFull));
    flood(&mut all, &club.nico, 2, VOID_MAX - 2);
    assert_eq!(one_more(&mut all, &club.nico, 3), Err(Reject::VoidFull));
    club.nico.meet(&club.founder);
    let stolen = club.nico.elsewhere(8).draft(Act::Join { invite: again });
    let stolen = club.nico.seal(stolen);
    assert_eq!(all.insert(stolen), Err(Reject::VoidFull));
    club.mia.meet(&club.founder);
    let join = club.mia.join(again);
    let join = club.mia.view.get(&join).expect("here").clone();
    let joined = all.insert(join);
    assert!(matches!(joined, Ok(Inserted::Folded(_))), "{joined:?}");
    let taken = one_more(&mut all, &club.mia, 2);
    assert!(matches!(taken, Ok(Inserted::Folded(_))), "{taken:?}");
}

/// Rita may fetch, on mars and elsewhere.
fn reader() -> Author {
    let mut founder = Author::founder();
    let mut rita = Author::person(22);
    let invite = founder.invite(rita.puddle, Role::Reader);
    rita.meet(&founder);
    rita.join(invite);
    rita
}

#[test]
fn who_may_only_read_has_a_quota_too() {
    let rita = reader();
    let mut all = union(&[&rita]);
    // Her join counts against her as well.
    flood(&mut all, &rita, 1, VOID_MAX - 1);
    assert_eq!(one_more(&mut all, &rita, 2), Err(Reject::VoidFull));
}

#[test]
fn what_has_no_effect_is_bounded_by_its_size_as_well() {
    let mut rita = reader();
    let change = |number: usize| Change {
        name: RefName::new(format!("refs/heads/{number:0>64}").as_bytes()).expect("valid"),
        new: Oid::from_bytes(&[1; 20]),
        contained: Vec::new(),
        forced: Vec::new(),
    };
    let update = Update {
        changes: (0..CHANGES_MAX).map(change).collect(),
        head: None,
        pack: None,
    };
    let mut bytes = 0;
    for _ in 0..100 {
        let statement = rita.draft(Act::Update(update.clone()));
        let verified = rita.seal(statement);
        bytes += verified.bytes().len();
        match rita.view.insert(verified) {
            Ok(_) => {}
            Err(reject) => {
                assert_eq!(reject, Reject::VoidFull);
                assert!(bytes > 16 << 20, "{bytes}");
                return;
            }
        }
    }
    panic!("{bytes} bytes without effect are kept");
}
