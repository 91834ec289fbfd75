//! `vigo swarm puddle names …`

use gitback_helper::{Failure, NamesStatus, Request};
use gitback_identity::{Fingerprint, KeyReject, PuddleKey, PuddleName};
use gitback_puddle::names::{self, How, Names};
use gitback_puddle::{Claimant, Public, read_retired};
use gitback_signer::names::{claimants, who_claims};
use serde::Serialize;

use super::name::names as ask;
use super::refusals;
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::{cli, failure, show};

/// One name and one key, as `names list --json` shows it.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct NameStatus {
    name: String,
    key: String,
    fingerprint: String,
    /// `own`, `picked`, `used`, `claimed`, `contested` or `hidden`.
    state: &'static str,
    /// When it was pinned.
    picked_ms: Option<u64>,
    /// Since when the daemon knows that this key claims the name.
    since_ms: Option<u64>,
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
    let dir = &context.layout.puddle_dir;
    let own = context.puddle_if_any()?;
    let pinned = names::read(dir).map_err(|error| refusals::read_names(&error))?;
    let earlier = match own {
        Some(_) => read_retired(dir).unwrap_or_default(),
        None => Vec::new(),
    };
    let claims = all_claims(context);
    let known = Known {
        own: own.as_ref(),
        earlier: &earlier,
        pinned: &pinned,
    };
    let rows = known.rows(claims.as_ref().ok().unwrap_or(&NamesStatus::default()));
    if json.json {
        return console.json(&rows);
    }
    if rows.is_empty() {
        console.line("No names. Pick one: vigo swarm puddle names pick NAME KEY")?;
    } else {
        let mut table = show::Table::new(&["NAME", "STATE", "FINGERPRINT", "KEY", "SINCE"]);
        for row in &rows {
            table.row([
                row.name.clone(),
                row.state.to_owned(),
                row.fingerprint.clone(),
                row.key.clone(),
                row.picked_ms
                    .or(row.since_ms)
                    .map_or_else(String::new, show::date),
            ]);
        }
        console.line(table.render())?;
    }
    for row in rows.iter().filter(|row| row.state == "hidden") {
        console.warning(format_args!(
            "{} is your own name too, and means your own puddle",
            row.name
        ));
    }
    match claims {
        Ok(status) if status.all > status.claims.len() as u64 => {
            console.progress(format_args!(
                "{} of {} are shown",
                status.claims.len(),
                show::count(status.all, "claim")
            ));
        }
        Ok(_) => {}
        Err(failure) => console.progress(format_args!(
            "what others claim is not shown: {}",
            failure.what
        )),
    }
    Ok(())
}

fn all_claims(context: &Context) -> Result<NamesStatus, Failure> {
    let everything = Request::Names {
        name: None,
        puddle: None,
        handle: None,
    };
    ask(&mut context.hasty_daemon()?, &everything)
}

/// What is known in the user's home.
struct Known<'a> {
    own: Option<&'a Public>,
    earlier: &'a [Public],
    pinned: &'a Names,
}

impl Known<'_> {
    /// What each name means or may mean: by the alphabet, and under one name what it means first.
    fn rows(&self, claims: &NamesStatus) -> Vec<NameStatus> {
        let mut rows = Vec::new();
        if let Some(own) = self.own {
            rows.push(row(&own.name, &own.key, "own"));
        }
        for (name, pin) in self.pinned.iter() {
            let hidden = self.is_own_name(name);
            let state = match pin.how {
                _ if hidden => "hidden",
                How::Picked => "picked",
                How::Used => "used",
            };
            rows.push(NameStatus {
                picked_ms: Some(pin.picked_ms),
                hidden,
                ..row(name, &pin.key, state)
            });
        }
        let claimed = claims.claims.iter().filter_map(|claim| claim.name.as_ref());
        let mut claimed: Vec<PuddleName> = claimed.filter_map(|name| name.parse().ok()).collect();
        claimed.sort_unstable();
        claimed.dedup();
        for name in claimed {
            let claimants = claimants(claims, &name);
            for claimant in &claimants {
                self.add(&mut rows, &name, claimant, claimants.len());
            }
        }
        let rank = |row: &NameStatus| !matches!(row.state, "own" | "picked" | "used");
        rows.sort_by_cached_key(|row| (row.name.clone(), rank(row), row.since_ms));
        rows
    }

    fn add(
        &self,
        rows: &mut Vec<NameStatus>,
        name: &PuddleName,
        claimant: &Claimant,
        claimants: usize,
    ) {
        let since_ms = Some(claimant.since_ms);
        let key = claimant.key.to_string();
        let mut known = rows.iter_mut();
        if let Some(row) = known.find(|row| row.name == name.as_str() && row.key == key) {
            row.since_ms = since_ms;
            return;
        }
        let hidden = self.is_own_name(name);
        let state = match self.pinned.pin(name) {
            _ if self.is_own_key(&claimant.key) => "own",
            _ if hidden => "hidden",
            Some(_) => "contested",
            None if claimants > 1 => "contested",
            None => "claimed",
        };
        rows.push(NameStatus {
            since_ms,
            hidden: hidden && state == "hidden",
            ..row(name, &claimant.key, state)
        });
    }

    fn is_own_name(&self, name: &PuddleName) -> bool {
        self.own.is_some_and(|own| own.name == *name)
    }

    fn is_own_key(&self, key: &PuddleKey) -> bool {
        let mut own = self.own.into_iter().chain(self.earlier);
        own.any(|own| own.key == *key)
    }
}

fn row(name: &PuddleName, key: &PuddleKey, state: &'static str) -> NameStatus {
    NameStatus {
        name: name.to_string(),
        key: key.to_string(),
        fingerprint: key.fingerprint().to_string(),
        state,
        picked_ms: None,
        since_ms: None,
        hidden: false,
    }
}

fn pick(
    context: &Context,
    name: &str,
    key: &str,
    words: &[String],
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let name = read_name(name)?;
    let (key, compared) = match read_key(&name, key, words)? {
        Given::Key(key) => (key, !words.is_empty()),
        Given::Words(fingerprint) => (claimed_by(context, &name, &fingerprint)?, true),
    };
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
    if !compared {
        console.hint(format_args!(
            "compare the four words with those that {name} sees: vigo swarm puddle status"
        ));
    }
    Ok(())
}

/// The only key that has that fingerprint among those that claim the name. Somebody may have made another key with the
/// same words, but then it is seen that there are two.
fn claimed_by(
    context: &Context,
    name: &PuddleName,
    fingerprint: &Fingerprint,
) -> Result<PuddleKey, Failure> {
    let mut daemon = context.daemon().map_err(|away| {
        let alone = refusals::fingerprint_alone(name);
        alone.hint(format!(
            "whether somebody claims {name} who has them cannot be looked up: {}",
            away.what
        ))
    })?;
    let status = ask(&mut daemon, &who_claims(name))?;
    if status.all > status.claims.len() as u64 {
        return Err(refusals::too_many_claims(name, status.all));
    }
    let claimants = claimants(&status, name);
    let mut found = claimants
        .iter()
        .filter(|claimant| claimant.key.fingerprint() == *fingerprint);
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.key),
        (Some(_), Some(_)) => Err(refusals::same_fingerprint(name, fingerprint)),
        (None, _) => Err(refusals::nobody_has_words(name, &claimants)),
    }
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

/// What somebody gave in place of a name's meaning.
enum Given {
    Key(PuddleKey),
    /// A whole fingerprint, which stands for a key only among claims.
    Words(Fingerprint),
}

/// The key, if it is a whole one and `words`, where there are any, are its fingerprint; or a fingerprint alone.
fn read_key(name: &PuddleName, text: &str, words: &[String]) -> Result<Given, Failure> {
    let given = words.join(" ");
    match text.parse::<PuddleKey>() {
        Ok(key) if words.is_empty() || given.parse() == Ok(key.fingerprint()) => {
            Ok(Given::Key(key))
        }
        Ok(key) => Err(refusals::fingerprint_differs(&key, &given)),
        Err(reject) => {
            let whole = format!("{text} {given}");
            match whole.trim().parse::<Fingerprint>() {
                Ok(fingerprint) => Ok(Given::Words(fingerprint)),
                Err(_) if reject == KeyReject::NotHex && is_word_of_one(text, words) => {
                    Err(refusals::fingerprint_alone(name))
                }
                Err(_) => Err(refusals::key(text, reject)),
            }
        }
    }
}

/// Whether somebody gave some words of a fingerprint, and not all.
fn is_word_of_one(text: &str, words: &[String]) -> bool {
    let words = words.iter().map(String::as_str);
    let given: Vec<&str> = text.split_whitespace().chain(words).collect();
    let is_word = |word: &&str| [*word; 4].join(" ").parse::<Fingerprint>().is_ok();
    !given.is_empty() && given.iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;

    use super::*;

    fn check(text: &str, words: &str, expected: Result<&str, (u8, &str)>) {
        let name = "alice".parse().expect("a name");
        let words: Vec<String> = words
            .split('|')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        let read = read_key(&name, text, &words);
        let read = read.as_ref().map(|given| match given {
            Given::Key(_) => "key",
            Given::Words(_) => "words",
        });
        let read = read.map_err(|failure| (failure.code, failure.what.as_str()));
        assert_eq!(read, expected, "{text} {words:?}");
    }

    #[test]
    fn a_key_is_whole_and_its_words_are_its_own() {
        let key = PuddleKey::new(SecretKey::from_seed(&[1; 32]).public());
        let fingerprint = key.fingerprint();
        let words = fingerprint.words().join("|");
        let text = key.to_string();
        check(&text, "", Ok("key"));
        check(&text, &words, Ok("key"));
        check(&text, &fingerprint.to_string(), Ok("key"));
        check(&text, &fingerprint.hex(), Ok("key"));

        let other = PuddleKey::new(SecretKey::from_seed(&[2; 32]).public());
        let differs = "the words are not those of this key; nothing was picked";
        check(&text, &other.fingerprint().to_string(), Err((1, differs)));
        check(&text, "amber", Err((1, differs)));

        let alone = "the words of a fingerprint are not enough to pick a key";
        let [first, rest @ ..] = fingerprint.words();
        check(&fingerprint.to_string(), "", Ok("words"));
        check(&fingerprint.hex(), "", Ok("words"));
        check(first, &rest.join("|"), Ok("words"));
        check(first, rest[0], Err((2, alone)));
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

    fn key(seed: u8) -> PuddleKey {
        PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    fn public(name: &str, seed: u8) -> Public {
        Public {
            name: name.parse().expect("a name"),
            key: key(seed),
            created_ms: 0,
        }
    }

    #[test]
    fn each_name_has_a_state() {
        let dir = tempfile::tempdir().expect("a directory");
        let pin = |name: &str, seed, how| {
            let name = name.parse().expect("a name");
            match how {
                How::Picked => names::pick(dir.path(), &name, &key(seed), 5).map(|_| ()),
                How::Used => names::learn(dir.path(), &name, &key(seed), 5).map(|_| ()),
            }
            .expect("pinned");
        };
        pin("alice", 1, How::Picked);
        pin("bob", 2, How::Used);
        pin("dan", 3, How::Picked);
        let (own, earlier) = (public("dan", 7), [public("dan", 6)]);
        let pinned = names::read(dir.path()).expect("read");
        let known = Known {
            own: Some(&own),
            earlier: &earlier,
            pinned: &pinned,
        };
        let claim = |name: &str, seed: u8| gitback_helper::ClaimStatus {
            name: Some(name.to_owned()),
            puddle: key(seed).to_string(),
            counter: 1,
            since_ms: seed.into(),
        };
        let claims = [
            ("alice", 1),
            ("alice", 8),
            ("carol", 9),
            ("dan", 6),
            ("dan", 7),
            ("dan", 10),
            ("eve", 11),
            ("eve", 12),
        ];
        let status = NamesStatus {
            claims: claims.map(|(name, seed)| claim(name, seed)).to_vec(),
            ..NamesStatus::default()
        };
        let rows = known.rows(&status);
        let expected = [
            ("alice", 1, "picked", true),
            ("alice", 8, "contested", true),
            ("bob", 2, "used", false),
            ("carol", 9, "claimed", true),
            ("dan", 6, "own", true),
            ("dan", 7, "own", true),
            ("dan", 3, "hidden", false),
            ("dan", 10, "hidden", true),
            ("eve", 11, "contested", true),
            ("eve", 12, "contested", true),
        ];
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.name.as_str(),
                    row.key.clone(),
                    row.state,
                    row.since_ms.is_some(),
                )
            })
            .collect();
        let expected = expected
            .map(|(name, seed, state, claimed)| (name, key(seed).to_string(), state, claimed));
        assert_eq!(rows, expected);
    }
}
