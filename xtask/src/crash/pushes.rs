//! What was pushed, and what a reader may be shown after a crash.

use std::collections::BTreeMap;

/// The refs that a reader is shown, by name.
pub(super) type Refs = BTreeMap<String, String>;

/// What a push has left, or the founding of the project.
#[derive(Debug)]
pub(super) struct Pushed {
    /// When it was begun, in seconds since the epoch.
    pub(super) begun: f64,
    /// When git reported it as done.
    pub(super) time: f64,
    pub(super) refs: Refs,
    /// The last one of those that were pushed at the same moment.
    pub(super) last: usize,
    /// What is said to git to make it again; nothing for the founding.
    pub(super) again: Vec<String>,
}

/// How many were reported as done when a crash came.
pub(super) fn done(states: &[Pushed], crash: f64) -> usize {
    let done = states.iter().filter(|state| state.time < crash);
    done.count()
}

/// Whether a reader may be shown these refs when so many pushes were reported as done: what those have left, and what
/// was under way wholly or not at all. Nothing is shown of a project that is not there.
pub(super) fn is_allowed(states: &[Pushed], done: usize, found: Option<&Refs>) -> bool {
    let least = done.checked_sub(1).and_then(|last| states.get(last));
    let Some(found) = found else {
        return least.is_none();
    };
    let empty = Refs::new();
    let least = least.map_or(&empty, |state| &state.refs);
    let Some(next) = states.get(done) else {
        return found == least;
    };
    if next.last == done {
        return found == least || *found == next.refs;
    }
    // Each of those at the same moment moves one ref.
    let most = states.get(next.last).map_or(&empty, |last| &last.refs);
    is_between(least, most, found)
}

/// Whether each ref is as on one side or as on the other.
pub(super) fn is_between(one: &Refs, other: &Refs, found: &Refs) -> bool {
    let mut names = one.keys().chain(other.keys()).chain(found.keys());
    names.all(|name| {
        let value = found.get(name);
        value == one.get(name) || value == other.get(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(pairs: &[(&str, &str)]) -> Refs {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    /// A founding, two pushes, and two at the same moment.
    fn states() -> Vec<Pushed> {
        let all = [
            (refs(&[]), 0),
            (refs(&[("a", "1")]), 1),
            (refs(&[("a", "2"), ("b", "1")]), 2),
            (refs(&[("a", "2"), ("b", "1"), ("x", "1")]), 4),
            (refs(&[("a", "2"), ("b", "1"), ("x", "1"), ("y", "1")]), 4),
        ];
        let state = |(number, (refs, last)): (u32, (Refs, usize))| Pushed {
            begun: f64::from(number),
            time: f64::from(number) + 0.5,
            refs,
            last,
            again: Vec::new(),
        };
        (0..).zip(all).map(state).collect()
    }

    #[test]
    fn what_git_had_reported_has_to_be_shown() {
        let states = states();
        let allowed = |done, found: &[(&str, &str)]| is_allowed(&states, done, Some(&refs(found)));
        assert!(is_allowed(&states, 0, None) && allowed(0, &[]));
        assert!(!is_allowed(&states, 1, None) && allowed(1, &[]));
        assert!(allowed(1, &[("a", "1")]));
        assert!(!allowed(2, &[]), "the push was done");
        assert!(allowed(2, &[("a", "1")]) && allowed(2, &[("a", "2"), ("b", "1")]));
        assert!(!allowed(2, &[("a", "2")]), "half of a push");
        assert!(!allowed(2, &[("a", "1"), ("c", "1")]));
    }

    #[test]
    fn of_pushes_at_the_same_moment_each_is_there_or_not() {
        let states = states();
        let allowed = |done, more: &[(&str, &str)]| {
            let found = [&[("a", "2"), ("b", "1")][..], more].concat();
            is_allowed(&states, done, Some(&refs(&found)))
        };
        assert!(allowed(3, &[]) && allowed(3, &[("y", "1")]));
        assert!(!allowed(4, &[]) && allowed(4, &[("x", "1")]));
        assert!(!allowed(4, &[("y", "1")]) && !allowed(5, &[("x", "1")]));
        assert!(allowed(5, &[("x", "1"), ("y", "1")]));
        assert_eq!(done(&states, 3.2), 3);
    }
}
