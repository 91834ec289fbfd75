//! `vigo swarm puddle recovery`, and the words at `init --from-recovery`.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use gitback_helper::{Failure, exit_code};
use gitback_identity::SecretKey;
use gitback_puddle::{
    Passphrase, Public, WordsReject, count_recovery_words, from_recovery_words, read_retired,
    recovery_words, unwrap, with_recovery_word,
};
use zeroize::Zeroizing;

use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{ask, cli, failure, gate, show};

/// Words in one row on a terminal.
const ROW: usize = 4;
/// How often words can be typed that are none.
const TYPED_MAX: u32 = 10;

/// Prints the recovery words.
pub(crate) fn recovery(
    context: &Context,
    arguments: &cli::Recovery,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let public = context.puddle()?;
    if arguments.to.is_none() && !arguments.stdout && !io::stdout().is_terminal() {
        return Err(no_terminal().into());
    }
    if let Some(path) = &arguments.to
        && path.symlink_metadata().is_ok()
    {
        return Err(taken(path).into());
    }
    let dir = &context.layout.puddle_dir;
    let retired = read_retired(dir).map_err(|error| failure::read_puddle(&error))?;
    let attempt = |passphrase: &Passphrase| unwrap(dir, passphrase);
    let file = arguments.passphrase_file.as_deref();
    let unwrapped = gate::with_passphrase(context, &public.name, file, console, attempt)?;
    let secret = unwrapped.map_err(|error| failure::unwrap_puddle(&error))?;
    let words = recovery_words(&secret);
    drop(secret);
    match &arguments.to {
        Some(path) => {
            write_new(path, &words)?;
            console.line(format_args!(
                "Wrote the recovery words of {} to {}",
                public.name,
                path.display()
            ))?;
        }
        None if arguments.stdout => console.line(words.as_str())?,
        None => print(&public, &words, console)?,
    }
    console.finish()?;
    console.warning(
        "whoever has these words has your key, and needs no passphrase; nothing but a new key shuts them out",
    );
    if arguments.to.is_none() {
        console.warning("what is printed stays in the terminal's scroll-back: clear it afterwards");
    }
    if !retired.is_empty() {
        console.warning(format_args!(
            "they stand for the present key alone, not for {} that it had before: what still goes by one is not \
             brought back by them",
            show::count(retired.len() as u64, "key")
        ));
        console.hint("hand all projects over first: vigo swarm gitback project reanchor --all");
    }
    console.hint("to bring the key back: vigo swarm puddle init --from-recovery");
    Ok(())
}

/// The key whose words are in `file`, or are typed.
pub(crate) fn ask(file: Option<&Path>, console: &mut Console<'_>) -> Result<SecretKey, Failure> {
    let words = ask::recovery_words(file, console)?;
    match file {
        Some(_) => from_recovery_words(&words).map_err(|reject| no_words(&reject)),
        None => typed_right(words, console),
    }
}

/// The key whose words are typed. Nobody else has seen them, so a slip costs nothing: a word that is none is asked for
/// again alone, and all of them where they are no key's; some times, and until nothing is typed.
fn typed_right(
    mut words: Zeroizing<String>,
    console: &mut Console<'_>,
) -> Result<SecretKey, Failure> {
    for _ in 1..TYPED_MAX {
        let reject = match from_recovery_words(&words) {
            Ok(secret) => return Ok(secret),
            Err(reject) => reject,
        };
        if count_recovery_words(&words) == 0 {
            return Err(no_words(&reject));
        }
        console.failure(&no_words(&reject));
        words = match reject {
            WordsReject::UnknownWord { place, .. } => {
                let word = ask::recovery_word(place, console)?;
                if count_recovery_words(&word) == 0 {
                    return Err(no_words(&reject));
                }
                with_recovery_word(&words, place, &word)
            }
            _ => ask::recovery_words(None, console)?,
        };
    }
    from_recovery_words(&words).map_err(|reject| no_words(&reject))
}

/// What a key that was made again from its words does not have, and what has to be seen to.
pub(super) fn say_what_is_missing(context: &Context, console: &mut Console<'_>) {
    console.warning("compare the fingerprint with one that you know: other words are another key");
    console.warning("what was typed and printed stays in the terminal's scroll-back: clear it");
    let dir = &context.layout.puddle_dir;
    match read_retired(dir).map(|retired| retired.len()) {
        Ok(0) => {
            console.warning("keys that the puddle had before are not brought back by the words");
            console.hint("they are in ~/.vigo-puddle/retired of any machine that had them");
        }
        Ok(count) => console.warning(format_args!(
            "{} in {} taken for the puddle's: what is there has its name",
            show::count(count as u64, "earlier key"),
            dir.join("retired").display()
        )),
        Err(error) => console.warning(failure::chain(&error)),
    }
    console.hint("clone your projects again by name, from an envoy that holds them");
}

fn print(public: &Public, words: &str, console: &mut Console<'_>) -> Result<(), Stop> {
    console.line(format_args!(
        "Recovery words of {} ({})",
        public.name,
        public.key.fingerprint()
    ))?;
    console.line("")?;
    let mut text = Zeroizing::new(String::with_capacity(1024));
    for (place, word) in (1..).zip(words.split(' ')) {
        let end = if place % ROW == 0 { "\n" } else { "" };
        let cell = Zeroizing::new(format!("  {place:>2} {word:<8}"));
        text.push_str(&cell);
        text.push_str(end);
    }
    console.line(text.as_str())
}

/// Writes a file that nobody else reads, and that was not there.
fn write_new(path: &Path, words: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(path),
        _ => unwritten(path, &error),
    })?;
    let mode = file.metadata().map(|found| found.permissions().mode());
    let closed = mode
        .map_err(|error| unwritten(path, &error))
        .and_then(|mode| check_closed(path, mode));
    if closed.is_err() {
        // Nothing is in it yet.
        let _ = std::fs::remove_file(path);
    }
    closed?;
    let written = fill(&mut file, words).and_then(|()| sync_parent(path));
    written.map_err(|error| {
        // Half of the words are of no use, and still half of a secret.
        let _ = std::fs::remove_file(path);
        unwritten(path, &error)
    })
}

/// Some file systems, such as those of most memory sticks, know no owners: whatever is asked for, others may read.
fn check_closed(path: &Path, mode: u32) -> Result<(), Failure> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("cannot write the recovery words to {}", path.display());
    Err(Failure::new(exit_code::FAILED, what)
        .because("others on this machine could read it: the file system keeps no permissions")
        .hint("name a file in your home: --to FILE")
        .hint("or write the words down on paper"))
}

fn fill(file: &mut File, words: &str) -> io::Result<()> {
    file.write_all(words.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

fn no_terminal() -> Failure {
    Failure::new(
        exit_code::USAGE,
        "recovery words are shown on a terminal only",
    )
    .because("stdout is not a terminal, and may end in a file or a log")
    .hint("into a file of your own: --to FILE")
    .hint("or all the same:         --stdout")
}

fn taken(path: &Path) -> Failure {
    Failure::new(
        exit_code::FAILED,
        format!("{} is there already", path.display()),
    )
    .because("it is not overwritten")
    .hint("name another file: --to FILE")
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let what = format!("cannot write the recovery words to {}", path.display());
    Failure::new(exit_code::FAILED, what).because(error.to_string())
}

fn no_words(reject: &WordsReject) -> Failure {
    let refused =
        |why: String| Failure::new(exit_code::USAGE, "these are no recovery words").because(why);
    match reject {
        WordsReject::UnknownWord { place, word, near } => {
            let why = format!(
                "word {place}, \"{}\", is not in the list",
                show::plain(word)
            );
            match near {
                Some(near) => refused(why).hint(format!("did you mean {near}?")),
                None => refused(why),
            }
        }
        WordsReject::Checksum => refused(reject.to_string())
            .hint("one of them is another word of the list, or two have changed places"),
        _ => refused(reject.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let path = Path::new("/media/stick/words");
        for mode in [0o100_600, 0o100_400, 0o100_700] {
            check_closed(path, mode).expect("closed to others");
        }
        for mode in [0o100_755, 0o100_644, 0o100_640, 0o100_606, 0o100_601] {
            let refused = check_closed(path, mode).expect_err("open to others");
            assert!(refused.what.contains("/media/stick/words"), "{refused:?}");
        }
    }
}
