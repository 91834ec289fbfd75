//! Names and passphrases, from the terminal or a file.

use std::io::{self, BufRead as _, IsTerminal as _, Read};
use std::path::Path;

use gitback_helper::Failure;
use gitback_identity::PuddleName;
use gitback_puddle::{PASSPHRASE_MAX, Passphrase};
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

/// The passphrase in `file`: its content without one newline at the end.
pub(crate) fn passphrase_from(file: &Path) -> Result<Passphrase, Failure> {
    let fault = |error: io::Error| failure::passphrase_file(file, error.to_string());
    if file == Path::new("-") {
        return read_passphrase(&mut io::stdin().lock(), file);
    }
    let mut opened = std::fs::File::open(file).map_err(fault)?;
    read_passphrase(&mut opened, file)
}

/// Asks once for an existing passphrase.
pub(crate) fn passphrase(name: &PuddleName) -> Result<Passphrase, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("the passphrase", PASSPHRASE_FLAG));
    }
    hidden(&format!("Passphrase for {name}: "))
}

/// Asks twice for a new passphrase.
pub(crate) fn new_passphrase() -> Result<Passphrase, Failure> {
    if !is_terminal() {
        return Err(failure::no_terminal("a passphrase", PASSPHRASE_FLAG));
    }
    let first = hidden("Passphrase: ")?;
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
    let typed = line()?;
    Ok(matches!(typed.trim(), "y" | "Y" | "yes"))
}

/// Asks a question to which only `n` and `no` are a no.
pub(crate) fn not_no(question: &str, console: &mut Console<'_>) -> Result<bool, Failure> {
    console.prompt(question);
    let typed = line()?;
    Ok(!matches!(typed.trim(), "n" | "N" | "no"))
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

/// One line of the terminal.
fn line() -> Result<String, Failure> {
    let mut line = String::new();
    let mut limited = io::stdin().lock().take(LINE_MAX);
    limited
        .read_line(&mut line)
        .map_err(|error| failure::prompt(&error))?;
    Ok(line)
}

fn hidden(prompt: &str) -> Result<Passphrase, Failure> {
    let typed = rpassword::prompt_password(prompt).map_err(|error| failure::prompt(&error))?;
    Passphrase::new(typed).map_err(failure::passphrase)
}

fn read_passphrase(from: &mut impl Read, file: &Path) -> Result<Passphrase, Failure> {
    // Room for everything at once, so that no copy is left behind by growing.
    let most = PASSPHRASE_MAX + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    from.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failure::passphrase_file(file, error.to_string()))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        error.into_bytes().zeroize();
        failure::passphrase_file(file, "it is not UTF-8")
    })?;
    Passphrase::new(text).map_err(failure::passphrase)
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
