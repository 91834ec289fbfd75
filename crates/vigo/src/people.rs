//! Who is meant by a name, a key or a fingerprint, and what to call somebody.

use gitback_helper::{Failure, ProjectStatus, chain, exit_code};
use gitback_identity::{Fingerprint, PuddleKey, PuddleName};
use gitback_puddle::names::{self, Names};
use gitback_puddle::{Public, ResolveError, Resolved, read_retired, resolve};
use gitback_signer::names::contested;

use crate::console::Console;
use crate::context::Context;
use crate::{failure, show};

/// The fewest digits of a key by which somebody is found.
const DIGITS_MIN: usize = 12;

/// The puddles that this user can name.
#[derive(Debug, Default)]
pub(crate) struct People {
    own: Option<Public>,
    /// Keys that the user's puddle had before.
    earlier: Vec<PuddleKey>,
    names: Names,
}

/// Somebody, and what the user calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) key: PuddleKey,
    pub(crate) name: Option<PuddleName>,
}

/// Whom a text means, as far as projects and the user's home say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sought {
    Person(Person),
    /// Whoever has that name.
    Named(PuddleName),
}

impl Person {
    /// The name, or the four words.
    pub(crate) fn called(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.key.fingerprint().to_string(),
        }
    }

    /// "alice (birch comet ladle frost)", or the four words alone.
    pub(crate) fn in_full(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.key.fingerprint()),
            None => self.key.fingerprint().to_string(),
        }
    }
}

impl People {
    /// Reads the user's puddle and names. What cannot be read hides names, never projects.
    pub(crate) fn read(context: &Context, console: &mut Console<'_>) -> Result<Self, Failure> {
        let dir = &context.layout.puddle_dir;
        let own = context.puddle_if_any()?;
        let mut warn = |error| console.warning(chain(&error));
        let names = names::read(dir).unwrap_or_else(|error| {
            warn(error);
            Names::default()
        });
        let retired = match own {
            Some(_) => read_retired(dir).unwrap_or_else(|error| {
                warn(error);
                Vec::new()
            }),
            None => Vec::new(),
        };
        Ok(Self {
            own,
            earlier: retired.into_iter().map(|public| public.key).collect(),
            names,
        })
    }

    /// The user's own puddle, if there is one.
    pub(crate) const fn own(&self) -> Option<&Public> {
        self.own.as_ref()
    }

    /// Whether it is a key that the user's puddle has, or had.
    pub(crate) fn is_own(&self, key: &PuddleKey) -> bool {
        self.is_earlier(key) || self.own.as_ref().is_some_and(|own| own.key == *key)
    }

    /// Whether it is a key that the user's puddle had before.
    pub(crate) fn is_earlier(&self, key: &PuddleKey) -> bool {
        self.earlier.contains(key)
    }

    /// What the user calls the owner of a key.
    pub(crate) fn name_of(&self, key: &PuddleKey) -> Option<&PuddleName> {
        match &self.own {
            Some(own) if self.is_own(key) => Some(&own.name),
            _ => self.names.name_of(key),
        }
    }

    /// The owner of a key that the daemon names.
    pub(crate) fn person(&self, key: &str) -> Option<Person> {
        let key: PuddleKey = key.parse().ok()?;
        let name = self.name_of(&key).cloned();
        Some(Person { key, name })
    }

    /// The name of a key that the daemon names, or its four words.
    pub(crate) fn called(&self, key: &str) -> String {
        let person = self.person(key);
        person.map_or_else(|| show::plain(key), |person| person.called())
    }

    /// Finds whom `text` means: a key, a name, or a fingerprint or some digits of somebody who is in one of
    /// `projects`.
    pub(crate) fn seek(&self, text: &str, projects: &[ProjectStatus]) -> Result<Sought, Failure> {
        if let Ok(key) = text.parse::<PuddleKey>() {
            let name = self.name_of(&key).cloned();
            return Ok(Sought::Person(Person { key, name }));
        }
        if let Some(found) = self.by_digits(text, projects) {
            return found.map(Sought::Person);
        }
        let name = text.parse().map(Sought::Named);
        name.map_err(|_| unknown(text, "it is no name, no key, and no fingerprint"))
    }

    /// The keys that a name means by what is in the user's home.
    pub(crate) fn resolve(
        &self,
        context: &Context,
        name: &PuddleName,
    ) -> Result<Resolved, ResolveError> {
        resolve(&context.layout.puddle_dir, self.own(), name)
    }

    /// Nothing if `text` is neither a fingerprint nor digits of a key.
    fn by_digits(&self, text: &str, projects: &[ProjectStatus]) -> Option<Result<Person, Failure>> {
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_prefix = text.len() >= DIGITS_MIN && text.bytes().all(digits);
        let fingerprint = text.parse::<Fingerprint>().ok();
        if fingerprint.is_none() && !is_prefix {
            return None;
        }
        let means = |key: &PuddleKey| {
            fingerprint == Some(key.fingerprint())
                || (is_prefix && key.to_string().starts_with(text))
        };
        let in_projects = projects.iter().flat_map(|project| {
            let members = project.member_list.iter().map(|member| &member.puddle);
            let line = project.line.iter().map(|hop| &hop.key);
            members.chain(line)
        });
        let named = self.names.iter().map(|(_, picked)| picked.key);
        let mut found: Vec<PuddleKey> = in_projects
            .filter_map(|key| key.parse().ok())
            .chain(named)
            .filter(means)
            .collect();
        found.sort_unstable();
        found.dedup();
        Some(match found.as_slice() {
            [key] => Ok(Person {
                key: *key,
                name: self.name_of(key).cloned(),
            }),
            [] => Err(unknown(
                text,
                "nobody in a project on this machine has such a key",
            )),
            several => Err(ambiguous(text, several)),
        })
    }
}

/// Words that make up one fingerprint together are one text: nobody is called by a fourth of it.
pub(crate) fn texts(words: &[String]) -> Vec<String> {
    let joined = words.join(" ");
    match joined.parse::<Fingerprint>() {
        Ok(_) => vec![joined],
        Err(_) => words.to_vec(),
    }
}

fn unknown(text: &str, why: &str) -> Failure {
    let what = format!("nobody is known here as {}", show::plain(text));
    Failure::new(exit_code::UNKNOWN, what)
        .because(why)
        .hint("ask for the whole key; its owner sees it with: vigo swarm puddle status")
        .hint("to give somebody a name: vigo swarm puddle names pick NAME KEY")
}

/// Why a name means nobody.
pub(crate) fn unresolved(name: &PuddleName, error: &ResolveError) -> Failure {
    match error {
        ResolveError::Unknown { near, .. } => {
            let mut unknown = unknown(
                name.as_str(),
                "you never used that name, and nobody claims it as far as is known here",
            );
            if let Some(near) = near {
                unknown.hints.insert(0, format!("did you mean {near}?"));
            }
            unknown
        }
        ResolveError::Contested { name, claimants } => {
            let now = show::now_ms();
            contested(
                name,
                claimants,
                &|then| show::span(now.saturating_sub(then)),
                None,
            )
        }
        error => Failure::new(exit_code::FAILED, "cannot read your names").because(chain(error)),
    }
}

fn ambiguous(text: &str, keys: &[PuddleKey]) -> Failure {
    let what = format!("{} could be several people", show::plain(text));
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Failure::new(exit_code::CONTESTED, what)
        .because(keys.join(", "))
        .hint("give the whole key")
}

/// Somebody's own key where another one's is needed.
pub(crate) fn oneself(person: &Person) -> Failure {
    let what = format!("{} is you", person.called());
    Failure::new(exit_code::USAGE, what).because("the key is your own puddle's")
}

/// No puddle, and a signature needed.
pub(crate) fn own_or_fail<'a>(
    people: &'a People,
    context: &Context,
) -> Result<&'a Public, Failure> {
    people
        .own()
        .ok_or_else(|| failure::no_puddle(&context.layout.puddle_dir))
}

#[cfg(test)]
pub(crate) mod tests {
    use gitback_helper::{HopStatus, MemberStatus};
    use gitback_identity::SecretKey;

    use super::*;
    use crate::context::Facts;
    use crate::naming::tests::dan;

    pub(crate) fn key(seed: u8) -> PuddleKey {
        PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    /// dan, whose puddle had another key before.
    pub(crate) fn known() -> People {
        People {
            own: Some(dan()),
            earlier: vec![key(6)],
            names: Names::default(),
        }
    }

    pub(crate) fn member(key: &PuddleKey, role: &str, state: &str, invite: &str) -> MemberStatus {
        MemberStatus {
            puddle: key.to_string(),
            fingerprint: key.fingerprint().to_string(),
            role: role.to_owned(),
            state: state.to_owned(),
            invite: invite.to_owned(),
            by: dan().key.to_string(),
            since_ms: None,
            asks_back: false,
        }
    }

    fn projects() -> Vec<ProjectStatus> {
        let hop = HopStatus {
            hop: 0,
            key: key(9).to_string(),
            fingerprint: key(9).fingerprint().to_string(),
            delegate: None,
        };
        vec![ProjectStatus {
            line: vec![hop],
            member_list: vec![member(&key(8), "member", "live", "ab")],
            ..ProjectStatus::default()
        }]
    }

    fn check(text: &str, expected: Result<PuddleKey, u8>) {
        let dir = tempfile::tempdir().expect("a directory");
        let facts = Facts::from_lookup(1000, &|_| None, &|_| false);
        let context = Context::new(facts, Some(dir.path().to_owned())).expect("a context");
        let found = match known().seek(text, &projects()) {
            Ok(Sought::Person(person)) => Ok(person.key),
            Ok(Sought::Named(name)) => {
                let resolved = known().resolve(&context, &name);
                let resolved = resolved.map_err(|error| unresolved(&name, &error).code);
                resolved.map(|resolved| *resolved.key())
            }
            Err(failure) => Err(failure.code),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn finds_people_by_key_name_words_and_digits() {
        let (alice, founder) = (key(8), key(9));
        check(&key(3).to_string(), Ok(key(3)));
        check("dan", Ok(dan().key));
        check(&alice.fingerprint().to_string(), Ok(alice));
        check(&alice.fingerprint().hex(), Ok(alice));
        check(&founder.fingerprint().to_string(), Ok(founder));
        check(&alice.to_string()[..12], Ok(alice));
        check(&alice.to_string()[..11], Err(10));
        check(&key(3).fingerprint().to_string(), Err(10));
        check(&key(3).to_string()[..20], Err(10));
        check("alice", Err(10));
        check("Alice!", Err(10));
    }

    #[test]
    fn calls_people_by_name_where_there_is_one() {
        let people = known();
        assert_eq!(people.called(&dan().key.to_string()), "dan");
        assert_eq!(people.called(&key(6).to_string()), "dan");
        let alice = key(8);
        let words = alice.fingerprint().to_string();
        assert_eq!(people.called(&alice.to_string()), words);
        let person = people.person(&dan().key.to_string()).expect("a key");
        let full = format!("dan ({})", dan().key.fingerprint());
        assert_eq!(person.in_full(), full);
    }

    #[test]
    fn four_words_are_one_person_and_others_are_not() {
        let words: Vec<String> = key(8).fingerprint().words().map(str::to_owned).to_vec();
        assert_eq!(texts(&words), [key(8).fingerprint().to_string()]);
        let names = ["alice".to_owned(), "bob".to_owned()];
        assert_eq!(texts(&names), names);
    }
}
