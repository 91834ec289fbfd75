//! What names mean to the user, with what the daemon knows of claims. The conversation is the programs' own.
//!
//! Source: docs/spec/puddle.md §5.

use gitback_envelope::NameClaim;
use gitback_helper::{Called, Failure, NamesStatus, Request, exit_code};
use gitback_identity::{Handle, PuddleKey, PuddleName};
use gitback_puddle::{By, Claimant, ResolveError, Resolved, resolve_claimed};

/// The question who claims `name`.
#[must_use]
pub fn who_claims(name: &PuddleName) -> Request {
    Request::Names {
        name: Some(name.to_string()),
        puddle: None,
        handle: None,
    }
}

/// The question which projects of that handle have passed to the owner of a key, who did not found them.
#[must_use]
pub fn passed_to(key: &PuddleKey, handle: &Handle) -> Request {
    Request::Names {
        name: None,
        puddle: Some(key.to_string()),
        handle: Some(handle.to_string()),
    }
}

/// Those who claim `name`, by the daemon's word. It cannot invent anything that a stranger could not claim.
#[must_use]
pub fn claimants(status: &NamesStatus, name: &PuddleName) -> Vec<Claimant> {
    let claims = status.claims.iter();
    let of_name = claims.filter(|claim| claim.name.as_deref() == Some(name.as_str()));
    let mut claimants: Vec<Claimant> = of_name
        .filter_map(|claim| {
            Some(Claimant {
                key: claim.puddle.parse().ok()?,
                since_ms: claim.since_ms,
            })
        })
        .collect();
    claimants.sort_by_key(|claimant| (claimant.since_ms, claimant.key));
    claimants.dedup_by_key(|claimant| claimant.key);
    claimants
}

/// Goes on where nothing in the user's home says what a name means.
///
/// # Errors
///
/// As [`resolve_claimed`].
pub fn resolve_by(unknown: ResolveError, status: &NamesStatus) -> Result<Resolved, ResolveError> {
    let ResolveError::Unknown { name, .. } = &unknown else {
        return Err(unknown);
    };
    let known = claimants(status, name);
    let near: Option<PuddleName> = status.near.as_ref().and_then(|near| near.parse().ok());
    resolve_claimed(unknown, &known, near.as_ref())
}

/// What the daemon is told of a name that means somebody else, so that it says if others claim it.
#[must_use]
pub fn called(name: &PuddleName, meant: &Resolved) -> Option<Called> {
    matches!(meant.by(), By::Pin(_)).then(|| Called {
        name: name.to_string(),
        puddle: meant.key().to_string(),
    })
}

/// The refusal of a name that several keys claim. `age` says for people how long ago a moment was; `address` is what
/// the user may type instead.
#[must_use]
pub fn contested(
    name: &PuddleName,
    claimants: &[Claimant],
    age: &dyn Fn(u64) -> String,
    handle: Option<&Handle>,
) -> Failure {
    let each = claimants.iter().map(|claimant| {
        let words = claimant.key.fingerprint();
        format!("{words} (for {})", age(claimant.since_ms))
    });
    let each: Vec<String> = each.collect();
    let failure = Failure::new(
        exit_code::CONTESTED,
        format!("{} keys claim the name {name}", claimants.len()),
    )
    .because(format!(
        "{}; nobody can say here who came first, and you have never used it",
        each.join(", ")
    ));
    let failure = claimants.iter().fold(failure, |failure, claimant| {
        failure.hint(format!(
            "if it is {}: vigo swarm puddle names pick {name} {}",
            claimant.key.fingerprint(),
            claimant.key
        ))
    });
    match handle {
        Some(handle) => failure.hint(format!(
            "or use the full address: gitback://<project id>/{handle}"
        )),
        None => failure.hint("or give the whole key"),
    }
}

/// How long ago `then` was at `now`, in milliseconds since 1970, for people.
#[must_use]
pub fn age(then: u64, now: u64) -> String {
    const SECOND: u64 = 1000;
    let seconds = now.saturating_sub(then) / SECOND;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The next claim of a puddle: with a counter higher than the one that the daemon knows, if it knows one. The time serves
/// as one, so that a machine that has not heard of an earlier claim goes beyond it all the same.
#[must_use]
pub fn next_claim(
    puddle: &PuddleKey,
    name: Option<PuddleName>,
    known: &NamesStatus,
    now_ms: u64,
) -> NameClaim {
    let own = puddle.to_string();
    let counters = known.claims.iter().filter(|claim| claim.puddle == own);
    let highest = counters.map(|claim| claim.counter).max();
    let next = highest.map_or(0, |counter| counter.saturating_add(1));
    NameClaim {
        puddle: *puddle,
        counter: next.max(now_ms),
        time_ms: Some(now_ms),
        name,
    }
}

/// The question what the daemon knows of the claim of one puddle, released or not.
#[must_use]
pub fn claim_of(puddle: &PuddleKey) -> Request {
    Request::Names {
        name: None,
        puddle: Some(puddle.to_string()),
        handle: None,
    }
}

#[cfg(test)]
mod tests {
    use gitback_helper::ClaimStatus;
    use gitback_identity::SecretKey;

    use super::*;

    fn key(seed: u8) -> PuddleKey {
        PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
    }

    fn name(text: &str) -> PuddleName {
        text.parse().expect("a name")
    }

    fn claim(seed: u8, name: Option<&str>, since_ms: u64) -> ClaimStatus {
        ClaimStatus {
            name: name.map(str::to_owned),
            puddle: key(seed).to_string(),
            counter: 7,
            since_ms,
        }
    }

    fn status(claims: Vec<ClaimStatus>) -> NamesStatus {
        NamesStatus {
            claims,
            ..NamesStatus::default()
        }
    }

    fn unknown() -> ResolveError {
        ResolveError::Unknown {
            name: name("alice"),
            near: None,
            picked: 0,
        }
    }

    #[test]
    fn one_claim_means_its_key_and_several_mean_nothing() {
        let alice = Some("alice");
        let one = status(vec![claim(1, alice, 5), claim(2, Some("bob"), 1)]);
        let resolved = resolve_by(unknown(), &one).expect("one");
        assert_eq!((resolved.key(), resolved.by()), (&key(1), By::Claim));
        assert_eq!(called(&name("alice"), &resolved), None);

        let two = status(vec![claim(1, alice, 5), claim(2, alice, 1)]);
        let error = resolve_by(unknown(), &two).expect_err("contested");
        let ResolveError::Contested { claimants, .. } = &error else {
            panic!("{error:?}");
        };
        let keys: Vec<PuddleKey> = claimants.iter().map(|one| one.key).collect();
        assert_eq!(keys, [key(2), key(1)], "longest known first");
        let failure = contested(&name("alice"), claimants, &|then| age(then, 61_000), None);
        assert_eq!(failure.code, 13);
        let text = failure.to_string();
        for seed in [1, 2] {
            let pick = format!("vigo swarm puddle names pick alice {}", key(seed));
            assert!(text.contains(&pick), "{text}");
            assert!(
                text.contains(&key(seed).fingerprint().to_string()),
                "{text}"
            );
        }
        assert!(text.contains("(for 1 min)"), "{text}");

        // One that has released the name, or says nonsense, claims nothing; one that is told twice claims it once.
        let mut odd = claim(3, alice, 1);
        odd.puddle = "nobody".to_owned();
        let again = status(vec![
            claim(1, alice, 5),
            claim(1, alice, 6),
            claim(2, None, 1),
            odd,
        ]);
        assert_eq!(resolve_by(unknown(), &again).expect("one").key(), &key(1));
    }

    #[test]
    fn nobody_is_unknown_with_the_nearest_claimed_name() {
        let near = |text: &str| NamesStatus {
            near: Some(text.to_owned()),
            ..NamesStatus::default()
        };
        let error = resolve_by(unknown(), &near("alicia")).expect_err("nobody");
        assert!(
            matches!(&error, ResolveError::Unknown { near: Some(near), .. } if *near == name("alicia")),
            "{error:?}"
        );
        let error = resolve_by(unknown(), &near("Not a name")).expect_err("nobody");
        assert!(matches!(error, ResolveError::Unknown { near: None, .. }));
    }

    #[test]
    fn each_claim_has_a_higher_counter_than_the_one_before() {
        let next = |known: &NamesStatus, now| next_claim(&key(1), None, known, now).counter;
        assert_eq!(next(&status(vec![]), 1000), 1000);
        assert_eq!(next(&status(vec![claim(1, None, 1)]), 1000), 1000);
        assert_eq!(
            next(&status(vec![claim(1, None, 1)]), 3),
            8,
            "a clock that is slow"
        );
        assert_eq!(
            next(&status(vec![claim(2, None, 1)]), 3),
            3,
            "another puddle's"
        );
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 59_999, 60_000, 3_599_999, 3_600_000, 86_400_000].map(|ms| age(1, ms + 1));
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "1 d"]);
    }
}
