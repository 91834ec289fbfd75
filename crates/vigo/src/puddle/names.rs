//! `vigo swarm puddle names …`

use gitback_helper::Failure;
use gitback_identity::{Fingerprint, KeyReject, PuddleKey, PuddleName};
use gitback_puddle::names;
use serde::Serialize;

use super::refusals;
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{cli, failure, show};

/// One name, as `names list --json` shows it.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct NameStatus {
    name: String,
    key: String,
    fingerprint: String,
    picked_ms: u64,
    /// Whether the user's own puddle has the same name, which then means that one.
    hidden: bool,
}

/// Lists, picks and forgets names.
pub(crate) fn names(
    context: &Context,
    verb: &cli::Names,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    match verb {
        cli::Names::List(json) => list(context, *json, console),
        cli::Names::Pick { name, key, words } => pick(context, name, key, words, console),
        cli::Names::Forget { name } => forget(context, name, console),
    }
}

fn list(context: &Context, json: cli::Json, console: &mut Console<'_>) -> Result<(), Stop> {
    let own = context.puddle_if_any()?;
    let picked =
        names::read(&context.layout.puddle_dir).map_err(|error| refusals::read_names(&error))?;
    let known: Vec<NameStatus> = picked
        .iter()
        .map(|(name, picked)| NameStatus {
            name: name.to_string(),
            key: picked.key.to_string(),
            fingerprint: picked.key.fingerprint().to_string(),
            picked_ms: picked.picked_ms,
            hidden: own.as_ref().is_some_and(|own| own.name == *name),
        })
        .collect();
    if json.json {
        return console.json(&known);
    }
    if known.is_empty() {
        return console.line("No names. Pick one: vigo swarm puddle names pick NAME KEY");
    }
    let mut table = show::Table::new(&["NAME", "FINGERPRINT", "KEY", "PICKED"]);
    for status in &known {
        table.row([
            status.name.clone(),
            status.fingerprint.clone(),
            status.key.clone(),
            show::date(status.picked_ms),
        ]);
    }
    console.line(table.render())?;
    for status in known.iter().filter(|status| status.hidden) {
        console.warning(format_args!(
            "{} is your own name too, and means your own puddle",
            status.name
        ));
    }
    Ok(())
}

fn pick(
    context: &Context,
    name: &str,
    key: &str,
    words: &[String],
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let name = read_name(name)?;
    let key = read_key(&name, key, words)?;
    let before = names::pick(&context.layout.puddle_dir, &name, &key, show::now_ms())
        .map_err(|error| refusals::pick(&error))?;
    let fingerprint = key.fingerprint();
    match before {
        Some(before) if before == key => {
            return console.line(format_args!("{name} was {fingerprint} already"));
        }
        Some(before) => console.line(format_args!(
            "{name} is {fingerprint}, no longer {}",
            before.fingerprint()
        ))?,
        None => console.line(format_args!("{name} is {fingerprint}"))?,
    }
    if words.is_empty() {
        console.hint(format_args!(
            "compare the four words with those that {name} sees: vigo swarm puddle status"
        ));
    }
    Ok(())
}

fn forget(context: &Context, name: &str, console: &mut Console<'_>) -> Result<(), Stop> {
    let name = read_name(name)?;
    let key = names::forget(&context.layout.puddle_dir, &name)
        .map_err(|error| refusals::forget(&error))?;
    console.line(format_args!("Forgot {name}, who was {}", key.fingerprint()))
}

fn read_name(text: &str) -> Result<PuddleName, Failure> {
    text.parse()
        .map_err(|reject| failure::puddle_name(text, &reject))
}

/// The key, if it is a whole one and `words`, where there are any, are its fingerprint.
fn read_key(name: &PuddleName, text: &str, words: &[String]) -> Result<PuddleKey, Failure> {
    let given = words.join(" ");
    match text.parse::<PuddleKey>() {
        Ok(key) if words.is_empty() || given.parse() == Ok(key.fingerprint()) => Ok(key),
        Ok(key) => Err(refusals::fingerprint_differs(&key, &given)),
        Err(KeyReject::NotHex) if is_fingerprint(text, words) => {
            Err(refusals::fingerprint_alone(name))
        }
        Err(reject) => Err(refusals::key(text, reject)),
    }
}

/// Whether somebody gave a fingerprint, or some words of one, in place of the key.
fn is_fingerprint(text: &str, words: &[String]) -> bool {
    let words = words.iter().map(String::as_str);
    let given: Vec<&str> = text.split_whitespace().chain(words).collect();
    let is_one = |text: &str| text.parse::<Fingerprint>().is_ok();
    let is_word = |word: &&str| is_one(&[*word; 4].join(" "));
    is_one(&given.join(" ")) || (!given.is_empty() && given.iter().all(is_word))
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    fn check(text: &str, words: &str, expected: Result<(), (u8, &str)>) {
        let name = "alice".parse().expect("a name");
        let words: Vec<String> = words
            .split('|')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let read = read_key(&name, text, &words);
        let read = read.as_ref().map(|_| ());
        let read = read.map_err(|failure| (failure.code, failure.what.as_str()));
        assert_eq!(read, expected, "{text} {words:?}");
    }

    #[test]
    fn a_key_is_whole_and_its_words_are_its_own() {
        let key = PuddleKey::new(SecretKey::from_seed(&[1; 32]).public());
        let fingerprint = key.fingerprint();
        let words = fingerprint.words().join("|");
        let text = key.to_string();
        check(&text, "", Ok(()));
        check(&text, &words, Ok(()));
        check(&text, &fingerprint.to_string(), Ok(()));
        check(&text, &fingerprint.hex(), Ok(()));

        let other = PuddleKey::new(SecretKey::from_seed(&[2; 32]).public());
        let differs = "the words are not those of this key; nothing was picked";
        check(&text, &other.fingerprint().to_string(), Err((1, differs)));
        check(&text, "amber", Err((1, differs)));

        let alone = "the words of a fingerprint are not enough to pick a key";
        let [first, rest @ ..] = fingerprint.words();
        check(&fingerprint.to_string(), "", Err((2, alone)));
        check(&fingerprint.hex(), "", Err((2, alone)));
        check(first, &rest.join("|"), Err((2, alone)));
        check(first, "", Err((2, alone)));

        check("nobody", "", Err((2, "\"nobody\" is no public key")));
        check(
            &text[..63],
            "",
            Err((2, &format!("\"{}\" is no public key", &text[..63]))),
        );
        let weak = "00".repeat(32);
        check(&weak, "", Err((2, &format!("\"{weak}\" is no public key"))));
    }
}
