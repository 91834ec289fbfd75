use super::*;

fn candidates_of(sizes: &[u64]) -> Vec<Candidate> {
    let sized = sizes.iter().enumerate().map(|(at, bytes)| Candidate {
        bytes: *bytes,
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(at.try_into().expect("few")),
        stem: format!("pack-{at}"),
        objects: 1,
    });
    sized.collect()
}

fn chosen(sizes: &[u64]) -> Vec<u64> {
    let chosen = choose(candidates_of(sizes));
    chosen.into_iter().map(|one| one.bytes).collect()
}

#[test]
fn chooses_the_small_ones_in_the_order_in_which_they_came() {
    assert_eq!(chosen(&[5; 7]), []);
    assert_eq!(chosen(&[5; 8]), [5; 8]);
    assert_eq!(
        chosen(&[9, 5, 5, 1000, 5, 7, 5, 5, 5]),
        [9, 5, 5, 5, 7, 5, 5, 5]
    );
    // A large one is taken along when the others have grown to half of it.
    assert_eq!(chosen(&[81, 5, 5, 5, 5, 5, 5, 5, 5]), [5; 8]);
    assert_eq!(chosen(&[80, 5, 5, 5, 5, 5, 5, 5, 5]).len(), 9);
    // A tiny one is no reason to stop.
    assert_eq!(chosen(&[1, 5, 5, 5, 5, 5, 5, 5]).len(), 8);
    assert_eq!(chosen(&[1, 3, 9, 27, 81, 243, 729, 2187, 6561]), []);
    let huge = BYTES_MAX / 8;
    assert_eq!(chosen(&[huge + 1; 9]), []);
    assert_eq!(chosen(&[huge; 9]).len(), 8);
    assert_eq!(chosen(&[1; 1000]).len(), PACKS_MAX);
}

#[test]
fn leaves_packs_of_very_many_objects_alone() {
    let mut many = candidates_of(&[5; 9]);
    many.first_mut().expect("there are nine").objects = OBJECTS_MAX;
    assert_eq!(choose(many).len(), 8);
    let mut many = candidates_of(&[5; 30]);
    for candidate in &mut many {
        candidate.objects = OBJECTS_MAX / 10;
    }
    assert_eq!(choose(many).len(), 10);
}

#[test]
fn each_byte_is_copied_a_few_times_only() {
    let (mut packs, mut copied) = (Vec::new(), 0);
    for at in 0..4096_u64 {
        packs.push(1000 + at % 500);
        let taken = choose(candidates_of(&packs));
        if !taken.is_empty() {
            for one in &taken {
                let at = packs.iter().position(|bytes| *bytes == one.bytes);
                packs.swap_remove(at.expect("it is one of them"));
            }
            let together = taken.iter().map(|one| one.bytes).sum();
            copied += together;
            packs.push(together);
        }
        assert!(packs.len() < 24, "{packs:?}");
    }
    let total: u64 = packs.iter().sum();
    assert!(copied < total * 8, "{copied} of {total}");
}

/// A repository with so many packs, each with one blob, and the blobs.
pub(crate) fn repository(home: &Path, packs: u8) -> (Repository, Vec<Oid>) {
    let repository = Repository::create(&home.join("served.git")).expect("a repository");
    let blobs = (0..packs).map(|at| bring(&repository, at)).collect();
    (repository, blobs)
}

/// Brings in a pack with a blob of a hundred such bytes.
pub(crate) fn bring(repository: &Repository, byte: u8) -> Oid {
    let content = [byte; 100];
    let mut quarantine = repository.quarantine();
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    crate::quick::tests::blob(&content, &mut pack);
    quarantine
        .ingest(pack.as_slice(), &crate::Limits::default())
        .expect("a good pack");
    quarantine.migrate().expect("room");
    let kind = gix::objs::Kind::Blob;
    gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &content).expect("no forgery")
}

#[test]
fn who_looks_things_up_meanwhile_goes_on() {
    let home = tempfile::tempdir().expect("a directory");
    let (repository, blobs) = repository(home.path(), 12);
    let small = repository.small_objects().expect("objects");
    let quarantine = repository.quarantine();
    let path = quarantine.path().expect("room");
    let none = crate::objects::Opened::at(&path.join("pack")).expect("no packs");
    let all = repository.quarantined_objects(path, &none);
    let all = all.expect("objects");
    let read = |objects: &crate::objects::Objects| {
        for blob in &blobs {
            assert_eq!(objects.read(blob).expect("it is there").len(), 100);
        }
    };
    // They have looked for something in some of the indexes, and have opened no pack so far.
    assert!(small.has(blobs.first().expect("there are many")));
    assert!(all.has(blobs.first().expect("there are many")));
    let repacked = repository.repack_small().expect("no fault");
    assert_eq!(repacked.expect("many").packs, 12);
    read(&small);
    read(&all);
    repository.clear_retired(Duration::ZERO).expect("no fault");
    read(&small);
    read(&repository.small_objects().expect("objects"));
    read(&repository.objects().expect("objects"));
}

#[test]
fn a_store_that_is_kept_open_sees_what_came_and_what_went() {
    let home = tempfile::tempdir().expect("a directory");
    let (repository, blobs) = repository(home.path(), 2);
    let first = blobs.first().expect("there are two");
    assert!(repository.has(first).expect("no fault"));
    repository.close_unused(Duration::ZERO);
    assert!(repository.has(first).expect("no fault"));
    // Behind our back.
    let packs = repository.objects_path().join("pack");
    let away = home.path().join("away");
    fs::create_dir(&away).expect("ours");
    let move_all = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).expect("ours") {
            let entry = entry.expect("ours");
            fs::rename(entry.path(), to.join(entry.file_name())).expect("ours");
        }
    };
    move_all(&packs, &away);
    assert!(!repository.has(first).expect("no fault"));
    move_all(&away, &packs);
    assert!(repository.has(first).expect("no fault"));
}

#[test]
fn a_pack_that_comes_again_stays() {
    let home = tempfile::tempdir().expect("a directory");
    let (repository, blobs) = repository(home.path(), 9);
    repository.repack_small().expect("no fault").expect("many");
    assert_eq!(
        bring(&repository, 0),
        *blobs.first().expect("there are nine")
    );
    let left = |age| repository.clear_retired(age).expect("no fault");
    assert_eq!(left(Duration::from_secs(60)), 9);
    assert_eq!(left(Duration::ZERO), 0);
    let directory = repository.objects_path().join("pack");
    let stems = stems(&directory).expect("no fault");
    assert_eq!(stems.len(), 2);
    for stem in &stems {
        assert!(directory.join(format!("{stem}.pack")).exists());
    }
    let left = fs::read_dir(&directory).expect("ours").count();
    assert_eq!(left, 4, "nothing else is left");
}

/// When each index was written.
fn times(directory: &Path) -> Vec<(PathBuf, SystemTime)> {
    let indexes = stems(directory).expect("no fault").into_iter();
    let timed = indexes.map(|stem| {
        let path = directory.join(format!("{stem}.idx"));
        let time = path.metadata().and_then(|found| found.modified());
        (path, time.expect("a time"))
    });
    timed.collect()
}

/// Gives all retired indexes their names back, as if a crash had come before they lost them.
fn undo_retiring(directory: &Path, times: &[(PathBuf, SystemTime)]) {
    for entry in fs::read_dir(directory).expect("ours") {
        let path = entry.expect("ours").path();
        if let Some(stem) = retired_stem(&path) {
            fs::rename(&path, path.with_file_name(format!("{stem}.idx"))).expect("ours");
        }
    }
    for (path, time) in times {
        let file = File::open(path).expect("ours");
        file.set_modified(*time).expect("ours");
    }
}

#[test]
fn what_has_become_unreadable_is_put_together_anew() {
    let home = tempfile::tempdir().expect("a directory");
    let (repository, blobs) = repository(home.path(), 9);
    let directory = repository.objects_path().join("pack");
    let times = times(&directory);
    repository.repack_small().expect("no fault").expect("many");
    let one = stems(&directory).expect("no fault");
    let [stem] = one.as_slice() else {
        panic!("{one:?}");
    };
    undo_retiring(&directory, &times);
    let index = directory.join(format!("{stem}.idx"));
    fs::remove_file(&index).expect("ours");
    fs::write(&index, b"").expect("ours");
    // The same packs in the same order give the same pack, and nobody can read the one that is there.
    let again = repository.repack_small().expect("no fault").expect("many");
    assert_eq!(again.packs, 9);
    repository.clear_retired(Duration::ZERO).expect("no fault");
    assert_eq!(&stems(&directory).expect("no fault"), &one);
    let objects = repository.objects().expect("no fault");
    for blob in &blobs {
        assert_eq!(objects.read(blob).expect("it is there").len(), 100);
    }
}

#[test]
fn what_is_one_of_the_packs_it_came_of_stays() {
    let home = tempfile::tempdir().expect("a directory");
    let (repository, blobs) = repository(home.path(), 9);
    let directory = repository.objects_path().join("pack");
    let times = times(&directory);
    assert_eq!(
        repository
            .repack_small()
            .expect("no fault")
            .expect("many")
            .packs,
        9
    );
    undo_retiring(&directory, &times);
    // The same packs in the same order give the same pack, which is there already.
    let again = repository.repack_small().expect("no fault").expect("many");
    assert_eq!(again.packs, 10);
    repository.clear_retired(Duration::ZERO).expect("no fault");
    assert_eq!(stems(&directory).expect("no fault").len(), 1);
    let objects = repository.objects().expect("no fault");
    for blob in &blobs {
        assert_eq!(objects.read(blob).expect("it is there").len(), 100);
    }
}

#[test]
fn packs_that_bring_nothing_of_their_own_take_nothing_along() {
    let home = tempfile::tempdir().expect("a directory");
    let (repository, blobs) = repository(home.path(), 9);
    repository.repack_small().expect("no fault").expect("many");
    repository.clear_retired(Duration::ZERO).expect("no fault");
    // The same blobs again, each in a pack of its own.
    for byte in 0..9 {
        bring(&repository, byte);
    }
    repository.repack_small().expect("no fault").expect("many");
    repository.clear_retired(Duration::ZERO).expect("no fault");
    let objects = repository.objects().expect("no fault");
    for blob in &blobs {
        assert_eq!(objects.read(blob).expect("it is there").len(), 100);
    }
}
