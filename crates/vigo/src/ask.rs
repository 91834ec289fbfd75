//! Names and passphrases, from the terminal or a file.

use std::io::{self, BufRead as _, IsTerminal as _, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use gitback_helper::Failure;
use gitback_identity::PuddleName;
use gitback_puddle::{
    PASSPHRASE_MAX, PASSPHRASE_SHORT, Passphrase, RECOVERY_TEXT_MAX, RECOVERY_WORDS,
    count_recovery_words,
};
use jiff::{Span, SpanRelativeTo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::console::Console;
use crate::failure;

/// The longest line that is read from a terminal, in bytes.
const LINE_MAX: u64 = 1024;
const PASSPHRASE_FLAG: &str = "--passphrase-file FILE (- is stdin)";

/// Whether somebody is there to be asked.
pub(crate) fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether a file's name means standard input.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// The passphrase in `file`: its content without one newline at the end.
pub(crate) fn passphrase_from(file: &Path) -> Result<Passphrase, Failure> {
    let fault = |error: io::Error| failure::passphrase_file(file, error.to_string());
    if is_stdin(file) {
        return read_passphrase(&mut raw_stdin().map_err(fault)?, file);
    }
    let mut opened = std::fs::File::open(file).map_err(fault)?;
    read_passphrase(&mut opened, file)
}

/// How long `text` says: `90m`, `8h`, `2d`.
pub(crate) fn length(text: &str) -> Result<Duration, Failure> {
    let span: Span = text
        .parse()
        .map_err(|_| failure::duration(text, "it is not a number and its unit"))?;
    // Who says 1d means 24 hours from now, whatever clocks do in summer.
    let length = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| failure::duration(text, "months and years have no fixed length"))?;
    Duration::try_from(length).map_err(|_| failure::duration(text, "it is negative"))
}

/// Asks once for an existing passphrase.
pub(crate) fn passphrase(name: &PuddleName) -> Result<Passphrase, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("the passphrase", PASSPHRASE_FLAG));
    }
    hidden(&format!("Passphrase for {name}: "))
}

/// The new passphrase in `file`, or asked for twice. Warns of a short one.
pub(crate) fn new_passphrase(
    file: Option<&Path>,
    console: &mut Console<'_>,
) -> Result<Passphrase, Failure> {
    if let Some(file) = file {
        let read = passphrase_from(file)?;
        warn_if_short(&read, console);
        return Ok(read);
    }
    if !is_terminal() {
        return Err(failure::no_terminal("a passphrase", PASSPHRASE_FLAG));
    }
    twice("Passphrase: ", console)
}

/// The same for a passphrase that takes the place of another.
pub(crate) fn other_passphrase(
    file: Option<&Path>,
    console: &mut Console<'_>,
) -> Result<Passphrase, Failure> {
    if file.is_some() || is_terminal() {
        return match file {
            Some(_) => new_passphrase(file, console),
            None => twice("New passphrase: ", console),
        };
    }
    let flag = "--new-passphrase-file FILE (- is stdin)";
    Err(failure::no_terminal("the new passphrase", flag))
}

fn warn_if_short(passphrase: &Passphrase, console: &mut Console<'_>) {
    if passphrase.is_short() {
        console.warning(format_args!(
            "the passphrase has fewer than {PASSPHRASE_SHORT} characters: whoever gets a copy of the key's file may find it out by trying"
        ));
        console.hint(
            "better are four or more words that have nothing to do with each other or with you",
        );
    }
}

fn twice(prompt: &str, console: &mut Console<'_>) -> Result<Passphrase, Failure> {
    let first = hidden(prompt)?;
    // Before it is typed again: there is still time to choose another one.
    warn_if_short(&first, console);
    if first != hidden("Again: ")? {
        return Err(failure::passphrases_differ());
    }
    Ok(first)
}

/// Asks for a puddle's name and offers `suggestion`.
pub(crate) fn puddle_name(
    suggestion: Option<&PuddleName>,
    console: &mut Console<'_>,
) -> Result<PuddleName, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("a name", "--name NAME"));
    }
    let question = "Name people will type in URLs";
    match suggestion {
        Some(name) => console.prompt(format_args!("{question} [{name}]: ")),
        None => console.prompt(format_args!("{question}: ")),
    }
    match (line()?.trim(), suggestion) {
        ("", Some(name)) => Ok(name.clone()),
        (typed, _) => typed
            .parse()
            .map_err(|reject| failure::puddle_name(typed, &reject)),
    }
}

/// Asks a question to which only `y` and `yes` are a yes.
pub(crate) fn yes(question: &str, console: &mut Console<'_>) -> Result<bool, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("a yes", "--yes"));
    }
    console.prompt(question);
    Ok(is_yes(&line()?))
}

/// The same, unless the question is moot before it is answered: then nothing. That is looked at whenever `watched` is readable.
pub(crate) fn yes_unless<T: AsFd>(
    question: &str,
    watched: &mut T,
    is_moot: impl Fn(&mut T) -> bool,
    console: &mut Console<'_>,
) -> Result<Option<bool>, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("a yes", "--yes"));
    }
    console.prompt(question);
    loop {
        let stdin = io::stdin();
        let mut both = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(watched, PollFlags::IN),
        ];
        match poll(&mut both, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failure::prompt(&error.into())),
        }
        let [answered, stirred] = both.map(|one| !one.revents().is_empty());
        if stirred && is_moot(watched) {
            // The prompt has no newline.
            console.progress("");
            return Ok(None);
        }
        if answered {
            return line().map(|typed| Some(is_yes(&typed)));
        }
    }
}

fn is_yes(typed: &str) -> bool {
    matches!(typed.trim(), "y" | "Y" | "yes")
}

/// Asks a question to which only `n` and `no` are a no. What was typed before it is no answer to it.
pub(crate) fn not_no(question: &str, console: &mut Console<'_>) -> Result<bool, Failure> {
    forget_what_was_typed();
    console.prompt(question);
    let typed = line()?;
    Ok(!matches!(typed.trim(), "n" | "N" | "no"))
}

/// Throws away what was typed and not yet read.
pub(crate) fn forget_what_was_typed() {
    // Fails where there is no terminal, and there nothing was typed.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// Warns, and has `word` typed to be sure that it is meant.
pub(crate) fn typed(word: &str, warning: &str, console: &mut Console<'_>) -> Result<bool, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("a confirmation", "--yes"));
    }
    console.warning(warning);
    console.prompt(format_args!("Type {word} to confirm: "));
    Ok(line()?.trim() == word)
}

/// The recovery words in `file`, or typed on the terminal, in as many lines as they take.
pub(crate) fn recovery_words(
    file: Option<&Path>,
    console: &mut Console<'_>,
) -> Result<Zeroizing<String>, Failure> {
    let fault = |error: io::Error| failure::words_file(file, error.to_string());
    let Some(path) = file else {
        if !is_terminal() {
            return Err(failure::no_terminal(
                "the recovery words",
                "--words-file FILE (- is stdin)",
            ));
        }
        console.progress(format_args!(
            "Type the {RECOVERY_WORDS} words, in one line or several; four letters of each are enough."
        ));
        return typed_words(console);
    };
    let bytes = match is_stdin(path) {
        true => read_bounded(&mut raw_stdin().map_err(fault)?, RECOVERY_TEXT_MAX),
        false => std::fs::File::open(path)
            .and_then(|mut file| read_bounded(&mut file, RECOVERY_TEXT_MAX)),
    };
    utf8(bytes.map_err(fault)?).map_err(|why| failure::words_file(file, why))
}

/// The recovery word at `place`, typed on the terminal once more.
pub(crate) fn recovery_word(
    place: usize,
    console: &mut Console<'_>,
) -> Result<Zeroizing<String>, Failure> {
    let fault = |error: io::Error| failure::prompt(&error);
    let mut terminal = raw_stdin().map_err(fault)?;
    let mut bytes = Zeroizing::new(vec![0_u8; RECOVERY_TEXT_MAX]);
    console.prompt(format_args!("Word {place}: "));
    let read = terminal.read(&mut bytes).map_err(fault)?;
    bytes.truncate(read);
    utf8(bytes).map_err(|why| failure::words_file(None, why))
}

/// Reads until there are enough words, an empty line, or the end.
fn typed_words(console: &mut Console<'_>) -> Result<Zeroizing<String>, Failure> {
    let fault = |error: io::Error| failure::prompt(&error);
    // A terminal gives one line at a time, and unlike the usual reader of stdin this one keeps nothing.
    let mut terminal = raw_stdin().map_err(fault)?;
    let mut bytes = Zeroizing::new(vec![0_u8; RECOVERY_TEXT_MAX]);
    let mut text = Zeroizing::new(String::with_capacity(2 * RECOVERY_TEXT_MAX));
    loop {
        let count = count_recovery_words(&text);
        if count >= RECOVERY_WORDS {
            return Ok(text);
        }
        console.prompt(format_args!("Words from {}: ", count + 1));
        let read = terminal.read(&mut bytes).map_err(fault)?;
        let line = bytes.get(..read).unwrap_or_default();
        let line = std::str::from_utf8(line)
            .map_err(|_| failure::words_file(None, "they are not UTF-8"))?;
        if line.trim().is_empty() || text.len() + line.len() > RECOVERY_TEXT_MAX {
            text.push_str(line.trim());
            return Ok(text);
        }
        text.push_str(line);
    }
}

/// Standard input without a buffer, in which secrets would stay.
pub(crate) fn raw_stdin() -> io::Result<std::fs::File> {
    git_remote_gitback::unbuffered(io::stdin())
}

/// One line of the terminal.
fn line() -> Result<String, Failure> {
    let mut line = String::new();
    let mut limited = io::stdin().lock().take(LINE_MAX);
    limited
        .read_line(&mut line)
        .map_err(|error| failure::prompt(&error))?;
    Ok(line)
}

/// Asks for what is not shown while it is typed, nor if it is typed before the question has been read to its end.
fn hidden(prompt: &str) -> Result<Passphrase, Failure> {
    let silent = Silent::begin().map_err(|error| failure::prompt(&error))?;
    let typed = rpassword::prompt_password(prompt).map_err(|error| failure::prompt(&error))?;
    drop(silent);
    Passphrase::new(typed).map_err(failure::passphrase)
}

/// The terminal, which does not show what is typed for as long as this lives.
struct Silent {
    terminal: std::fs::File,
    before: Termios,
}

impl Silent {
    fn begin() -> io::Result<Self> {
        let terminal = std::fs::File::open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL);
        tcsetattr(&terminal, OptionalActions::Now, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

fn read_passphrase(from: &mut impl Read, file: &Path) -> Result<Passphrase, Failure> {
    let mut bytes = read_bounded(from, PASSPHRASE_MAX + 2)
        .map_err(|error| failure::passphrase_file(file, error.to_string()))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let mut text = utf8(bytes).map_err(|why| failure::passphrase_file(file, why))?;
    Passphrase::new(std::mem::take(&mut *text)).map_err(failure::passphrase)
}

/// Reads to the end, and one byte more than `most` where there is more.
fn read_bounded(from: &mut impl Read, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for everything at once, so that no copy is left behind by growing: also for the byte that shows the end.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 64));
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn utf8(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, &'static str> {
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err("it is not UTF-8")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<&str>) {
        let read = read_passphrase(&mut &*bytes, Path::new("-"));
        let expected = expected.map(|text| Passphrase::new(text.to_owned()).expect("valid"));
        assert_eq!(read.ok(), expected, "{bytes:?}");
    }

    #[test]
    fn takes_one_newline_off_a_file() {
        check(b"open sesame", Some("open sesame"));
        check(b"open sesame\n", Some("open sesame"));
        check(b"open sesame\r\n", Some("open sesame"));
        check(b"open sesame\n\n", Some("open sesame\n"));
        check(b" open sesame \n", Some(" open sesame "));
    }

    #[test]
    fn refuses_empty_long_and_binary_files() {
        check(b"", None);
        check(b"\n", None);
        check(b"\xff", None);
        check(&[b'a'; PASSPHRASE_MAX + 1], None);
        check(&[b'a'; 2 * PASSPHRASE_MAX], None);
    }
}
