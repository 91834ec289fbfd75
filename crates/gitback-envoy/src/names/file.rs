//! The claims on disk: one file, replaced whole.
//!
//! Source: docs/spec/peer.md §5.11, "On disk".

use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use gitback_envelope::VerifiedClaim;
use gitback_identity::hex;
use gitback_peer::limits::CLAIM_MAX;

use super::book::{Book, Known, Source, Taken};
use crate::disk;

/// The file's name.
const FILE: &str = "claims";

/// Its first line.
const HEADER: &str = "claims 1";

/// Longest file that is read; four thousand of the longest lines fit.
const BYTES_MAX: u64 = 8 << 20;

/// Where the claims are, below the daemon's state.
pub(super) fn dir(state_dir: &Path) -> PathBuf {
    state_dir.join("swarm/puddle")
}

/// What was found on disk.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) book: Book,
    /// Why not all of the file could be used.
    pub(super) damage: Option<String>,
}

/// Reads the claims; none where there is no file. Every line is verified, and what is wrong is left out.
pub(super) fn read(dir: &Path) -> io::Result<Found> {
    let file = match std::fs::File::open(dir.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let too_long = bytes.len() as u64 > BYTES_MAX;
    let mut found = parse(&String::from_utf8_lossy(&bytes));
    if too_long {
        found.damage = Some(format!("it is longer than {BYTES_MAX} bytes"));
    }
    Ok(found)
}

/// Replaces the file, durably.
pub(super) fn write(dir: &Path, book: &Book) -> io::Result<()> {
    disk::make_dirs(dir)?;
    disk::sync_above(dir)?;
    let mut text = format!("{HEADER}\n");
    for known in book.from(None) {
        text.push_str(&line(known));
    }
    disk::replace(&dir.join(FILE), text.as_bytes())
}

/// Moves a damaged file out of the way, and says where it is now.
pub(super) fn set_aside(dir: &Path, now_ms: u64) -> io::Result<PathBuf> {
    let aside = dir.join(format!("{FILE}.damaged-{now_ms}"));
    std::fs::rename(dir.join(FILE), &aside)?;
    disk::sync_dir(dir)?;
    Ok(aside)
}

fn line(known: &Known) -> String {
    let by = match known.by {
        Source::User(uid) => uid.to_string(),
        Source::Peer => "-".to_owned(),
    };
    let claim = hex::encode(known.claim().bytes());
    format!("{} {by} {claim}\n", known.since_ms)
}

fn parse(text: &str) -> Found {
    let mut found = Found::default();
    let mut lines = text.split_inclusive('\n');
    if lines.next().map(str::trim_end) != Some(HEADER) {
        found.damage = Some("it does not begin as it should".to_owned());
        return found;
    }
    let mut bad = 0_usize;
    for line in lines {
        let taken = entry(line).map(|(since_ms, by, claim)| found.book.take(claim, by, since_ms));
        if !matches!(taken, Some(Taken::New)) {
            bad += 1;
        }
    }
    if bad > 0 {
        found.damage = Some(format!("{bad} of its lines are no claims that hold"));
    }
    found
}

/// One whole line, its end included: half of one was torn.
fn entry(line: &str) -> Option<(u64, Source, VerifiedClaim)> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let (since, by, claim) = (words.next()?, words.next()?, words.next()?);
    let by = match by {
        "-" => Source::Peer,
        uid => Source::User(uid.parse().ok()?),
    };
    let bytes = hex::decode(claim, CLAIM_MAX)?;
    let claim = VerifiedClaim::decode(&bytes).ok()?;
    words
        .next()
        .is_none()
        .then_some((since.parse().ok()?, by, claim))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::book::tests::{claim, puddle};
    use super::*;

    fn book() -> Book {
        let mut book = Book::default();
        book.take(claim(1, 1, Some("dan")), Source::User(1000), 11);
        book.take(claim(2, 9, None), Source::Peer, 12);
        book
    }

    #[test]
    fn what_was_written_reads_back() {
        let root = tempfile::tempdir().expect("temporary folder");
        let dir = dir(root.path());
        assert_eq!(read(&dir).expect("no file").book.len(), 0);
        write(&dir, &book()).expect("the disk works");
        let found = read(&dir).expect("readable");
        assert_eq!(found.damage, None);
        assert_eq!(found.book.digest(), book().digest());
        let dan = found.book.of(&puddle(1)).expect("known");
        assert_eq!((dan.since_ms, dan.by), (11, Source::User(1000)));
        let mode = std::fs::metadata(&dir).expect("a folder").permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
    }

    #[test]
    fn the_longest_claims_of_all_puddles_fit() {
        let longest = claim(1, u64::MAX, Some(&"a".repeat(32)));
        assert!(longest.bytes().len() < CLAIM_MAX);
        let line = u64::MAX.to_string().len() + u32::MAX.to_string().len() + 3 + 2 * CLAIM_MAX;
        let all = line * super::super::book::PUDDLES_MAX + HEADER.len() + 1;
        assert!(all as u64 <= BYTES_MAX);
    }

    #[test]
    fn what_is_damaged_is_left_out_and_said() {
        let dir = tempfile::tempdir().expect("temporary folder");
        write(dir.path(), &book()).expect("the disk works");
        let good = std::fs::read_to_string(dir.path().join(FILE)).expect("text");
        let check = |text: &[u8], left: usize| {
            std::fs::write(dir.path().join(FILE), text).expect("written");
            let found = read(dir.path()).expect("readable");
            assert_eq!(found.book.len(), left, "{}", String::from_utf8_lossy(text));
            assert!(found.damage.is_some(), "{}", String::from_utf8_lossy(text));
        };
        check(b"", 0);
        check(b"claims 2\n", 0);
        check(&good.as_bytes()[..good.len() - 1], 1);
        let flipped = good.replacen("83782a", "83782b", 1);
        check(flipped.as_bytes(), 1);
        let twice = format!("{good}{}", good.lines().nth(1).expect("a line"));
        check(format!("{twice}\n").as_bytes(), 2);
        let mut noise = good.clone().into_bytes();
        noise.extend_from_slice(b"\xff\xfe 1 2 3\n");
        check(&noise, 2);

        let aside = set_aside(dir.path(), 5).expect("moved");
        assert_eq!(std::fs::read(aside).expect("kept"), noise);
        assert!(read(dir.path()).expect("no file").damage.is_none());
    }
}
