//! `vigo swarm puddle leave`: the end of the user's puddle on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use gitback_helper::{Failure, LogEntry, ProjectStatus, Reply, Request, Wish, exit_code};
use gitback_identity::{EnvoyKey, PuddleKey};
use gitback_puddle::{Public, Removal, RemoveError, WriteError, has_secret, read_retired};
use gitback_signer::{May, home};

use super::end_session;
use crate::console::{Console, Stop};
use crate::context::Context;
use crate::errand::Errand;
use crate::keys::Keys;
use crate::project::{PENDING_LEAVE, REFOUND_NOTE, Subject, founder_of, has_ended, log_page};
use crate::{ask, authority, cli, envoy, failure, naming, record, show};

/// All that gitback keeps about a project in the user's home.
const KEPT: [&str; 4] = [home::TOKEN, PENDING_LEAVE, REFOUND_NOTE, record::FILE];

/// The user's keys whose files are on this machine. What is not there can sign nothing, and be lost no more.
struct Own {
    public: Public,
    /// Whether the file of the present key is there; `leave` that was cut short has removed it.
    has_present: bool,
    retired: Vec<PuddleKey>,
}

impl Own {
    fn read(
        context: &Context,
        arguments: &cli::PuddleLeave,
        console: &mut Console<'_>,
    ) -> Result<Self, Failure> {
        let dir = &context.layout.puddle_dir;
        let public = context.puddle()?;
        let has_present = has_secret(dir);
        let retired = match read_retired(dir) {
            Ok(retired) => retired.into_iter().map(|public| public.key).collect(),
            Err(error) if arguments.even_last => {
                let why = failure::chain(&error);
                console.warning(format_args!("earlier keys cannot be read: {why}"));
                Vec::new()
            }
            Err(error) => {
                return Err(failure::read_puddle(&error)
                    .hint("to remove the puddle with what is damaged: --even-last"));
            }
        };
        Ok(Self {
            public,
            has_present,
            retired,
        })
    }

    fn is_own(&self, key: &PuddleKey) -> bool {
        *key == self.public.key || self.retired.contains(key)
    }

    fn can_sign(&self, key: &PuddleKey) -> bool {
        (self.has_present && *key == self.public.key) || self.retired.contains(key)
    }
}

/// What the daemon knows that matters here.
#[derive(Debug, Default)]
struct Seen {
    /// This machine's envoy, and its name.
    here: Option<(EnvoyKey, String)>,
    /// Projects in which this envoy signs for a key of the user.
    granted: Vec<(ProjectStatus, PuddleKey)>,
    /// Projects of which a copy stays here.
    copies: Vec<String>,
    /// Other envoys that each key has granted something that is still in force: it was there.
    elsewhere: BTreeMap<PuddleKey, BTreeSet<String>>,
    /// Projects that still go by a key that the puddle had before.
    behind: Vec<String>,
}

impl Seen {
    /// The keys that nothing shows to be anywhere else.
    fn only_here<'a>(&'a self, own: &'a Own) -> impl Iterator<Item = &'a PuddleKey> {
        let present = own.has_present.then_some(&own.public.key);
        let keys = present.into_iter().chain(&own.retired);
        keys.filter(|key| !self.elsewhere.contains_key(key))
    }
}

/// Takes back what was granted to this machine's envoy, and removes the puddle from the user's home.
pub(crate) fn leave(
    context: &Context,
    arguments: &cli::PuddleLeave,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let own = Own::read(context, arguments, console)?;
    let daemon = match context.daemon() {
        Err(failure) if failure.code == exit_code::UNREACHABLE && arguments.without_envoy => None,
        daemon => Some(daemon.map_err(without_envoy)?),
    };
    let Some(daemon) = daemon else {
        console.warning("the daemon does not answer: its envoy keeps your grants until they end");
        before_removal(&own, &Seen::default(), arguments, console)?;
        let removal = begin_removal(context)?;
        end_session(context)?;
        return clear(context, &own, removal, &Seen::default(), console);
    };
    let mut errand = Errand::with(context, daemon, console)?;
    let seen = look_around(&mut errand, &own, arguments)?;
    let is_last = seen.only_here(&own).next().is_some();
    authority::warn_of_leave(context, is_last, errand.console);
    before_removal(&own, &seen, arguments, errand.console)?;
    let file = arguments.passphrase_file.as_deref();
    let mut keys = Keys::new(context, own.public.clone(), file).without_session();
    for (_, key) in &seen.granted {
        if own.can_sign(key) {
            keys.signer(key)?;
        }
    }
    // From here on nobody unlocks the puddle, and nobody signs a new grant.
    let removal = begin_removal(context)?;
    end_session(context)?;
    let kept = take_back(&mut errand, &own, &mut keys, &seen, arguments)?;
    end_session(context)?;
    refuse_new_grants(&mut errand, &own, &kept, arguments)?;
    clear(context, &own, removal, &seen, console)
}

fn begin_removal(context: &Context) -> Result<Removal, Failure> {
    Removal::begin(&context.layout.puddle_dir).map_err(|error| not_removed(&error))
}

fn look_around(
    errand: &mut Errand<'_, '_>,
    own: &Own,
    arguments: &cli::PuddleLeave,
) -> Result<Seen, Failure> {
    let here = envoy::ask(&mut errand.daemon, errand.console)?;
    let removed = removed_envoys(errand)?;
    let facts = Facts {
        own,
        here: &here.key,
        uid: errand.context.uid(),
        now_ms: here.now_ms,
        removed: &removed,
    };
    let mut seen = Seen::default();
    for listed in errand.projects()? {
        seen.copies.push(naming::display(&listed));
        if let Err(failure) = look_into(errand, &facts, &listed, &mut seen) {
            let name = naming::display(&listed);
            if !arguments.without_envoy {
                return Err(unread(&failure, &name));
            }
            let why = &failure.what;
            errand.console.warning(format_args!(
                "{name} cannot be read ({why}): what was granted there stays until it ends"
            ));
        }
    }
    seen.here = here.key.parse().ok().map(|key| (key, here.name));
    Ok(seen)
}

fn look_into(
    errand: &mut Errand<'_, '_>,
    facts: &Facts<'_>,
    listed: &ProjectStatus,
    seen: &mut Seen,
) -> Result<(), Failure> {
    let project = errand.project(&listed.project_id)?;
    let founder = founder_of(&project);
    if founder.is_some_and(|key| facts.own.retired.contains(&key)) && !has_ended(&project) {
        seen.behind.push(naming::display(&project));
    }
    let (mut log, mut skip) = (GrantLog::default(), 0);
    loop {
        let (entries, more) = log_page(errand, &project.project_id, skip)?;
        skip += entries.len() as u64;
        for entry in &entries {
            log.take_in(facts, entry)?;
        }
        if !more || entries.is_empty() {
            break;
        }
    }
    for (key, envoy) in log.elsewhere {
        let envoys = seen.elsewhere.entry(key).or_default();
        envoys.insert(called(&envoy, &project));
    }
    // Nothing can be signed about a project that has ended, and nobody serves it.
    if !has_ended(&project) {
        let granted = log.granted.into_iter();
        seen.granted
            .extend(granted.map(|key| (project.clone(), key)));
    }
    Ok(())
}

/// By what the envelopes of a project are judged.
struct Facts<'a> {
    own: &'a Own,
    /// This machine's envoy.
    here: &'a str,
    uid: u32,
    now_ms: u64,
    /// Envoys that were removed from the fleet.
    removed: &'a BTreeSet<String>,
}

/// What the user's keys have granted in one project.
#[derive(Debug, Default, PartialEq, Eq)]
struct GrantLog {
    /// Keys for which this envoy signs when the user asks.
    granted: BTreeSet<PuddleKey>,
    /// Keys with the envoys on which they have signed a grant that is in force.
    elsewhere: BTreeSet<(PuddleKey, String)>,
}

impl GrantLog {
    /// Takes in the next envelope, in the order in which they folded.
    fn take_in(&mut self, facts: &Facts<'_>, entry: &LogEntry) -> Result<(), Failure> {
        let Ok(key) = entry.puddle.parse::<PuddleKey>() else {
            return Ok(());
        };
        if entry.verdict != "valid" || !facts.own.is_own(&key) {
            return Ok(());
        }
        if let Some(envoy) = &entry.ungrants {
            // Wherever it was written: a lost machine says nothing itself.
            self.elsewhere.remove(&(key, envoy.clone()));
            return Ok(());
        }
        let Some(grant) = &entry.grant else {
            return match entry.kind.starts_with("grant.") {
                true => Err(Failure::new(
                    exit_code::FAILED,
                    "the daemon is of another version",
                )),
                false => Ok(()),
            };
        };
        if grant.expires_ms.is_some_and(|end| end <= facts.now_ms) {
            return Ok(());
        }
        if grant.envoy == facts.here {
            if grant.live && grant.uid == facts.uid {
                self.granted.insert(key);
            }
        } else if entry.signer == entry.puddle
            && entry.envoy.as_ref() == Some(&grant.envoy)
            && !facts.removed.contains(&grant.envoy)
        {
            self.elsewhere.insert((key, grant.envoy.clone()));
        }
        Ok(())
    }
}

fn removed_envoys(errand: &mut Errand<'_, '_>) -> Result<BTreeSet<String>, Failure> {
    match errand.call(&Request::Fleet)? {
        Reply::Fleet(fleet) => {
            let envoys = fleet.envoys.into_iter();
            let removed =
                envoys.filter(|one| one.standing == "removed" || one.removed_ms.is_some());
            Ok(removed.map(|one| one.key).collect())
        }
        other => Err(other.unexpected()),
    }
}

/// An envoy's name, or the beginning of its key.
fn called(key: &str, project: &ProjectStatus) -> String {
    let mut envoys = project.envoys.iter();
    let known = envoys.find(|envoy| envoy.key == key);
    known.map_or_else(|| naming::short(key), |envoy| show::plain(&envoy.name))
}

/// Says what will be gone, and asks.
fn before_removal(
    own: &Own,
    seen: &Seen,
    arguments: &cli::PuddleLeave,
    console: &mut Console<'_>,
) -> Result<(), Failure> {
    let name = &own.public.name;
    if !arguments.even_last {
        if seen.only_here(own).next().is_some() {
            return Err(perhaps_last(own, seen));
        }
        if !seen.behind.is_empty() {
            return Err(not_handed_over(seen));
        }
    }
    let mut warning = format!("this deletes {} from this machine", keys_text(own));
    let elsewhere: BTreeSet<&str> = seen
        .elsewhere
        .values()
        .flatten()
        .map(String::as_str)
        .collect();
    let elsewhere: Vec<&str> = elsewhere.into_iter().collect();
    match (lost_text(own, seen), elsewhere.as_slice()) {
        (Some(lost), _) => warning.push_str(&format!(
            "; nothing shows that {lost} anywhere else; without another copy or recovery words, it is lost for good"
        )),
        (None, []) => {}
        (None, names) => warning.push_str(&format!("; it was used on {}", names.join(", "))),
    }
    if !seen.behind.is_empty() {
        warning.push_str(&format!(
            "; still by an earlier key: {}",
            seen.behind.join(", ")
        ));
    }
    if arguments.yes {
        console.warning(warning);
        return Ok(());
    }
    match ask::typed(name.as_str(), &warning, console)? {
        true => Ok(()),
        false => Err(failure::not_confirmed("nothing was removed")),
    }
}

/// "the key of dan and 2 keys that it had before"
fn keys_text(own: &Own) -> String {
    let key = format!("the key of {}", own.public.name);
    match own.retired.len() {
        0 => key,
        retired => format!(
            "{key} and {} that it had before",
            show::count(retired as u64, "key")
        ),
    }
}

/// "the key of dan is", where nothing shows that it is not.
fn lost_text(own: &Own, seen: &Seen) -> Option<String> {
    let name = &own.public.name;
    let only_here: Vec<&PuddleKey> = seen.only_here(own).collect();
    let retired = only_here.iter().filter(|key| ***key != own.public.key);
    let retired = show::count(retired.count() as u64, "key");
    match only_here.as_slice() {
        [] => None,
        [present] if **present == own.public.key => Some(format!("the key of {name} is")),
        all if all.contains(&&own.public.key) => Some(format!(
            "the key of {name} or {retired} that it had before is"
        )),
        _ => Some(format!("{retired} that {name} had before is")),
    }
}

/// Signs that this envoy signs for the user's keys no longer, everywhere; nothing is removed before all of that is in.
/// Gives the projects and keys for which it still does.
fn take_back(
    errand: &mut Errand<'_, '_>,
    own: &Own,
    keys: &mut Keys<'_>,
    seen: &Seen,
    arguments: &cli::PuddleLeave,
) -> Result<BTreeSet<(String, PuddleKey)>, Stop> {
    let mut kept = BTreeSet::new();
    let Some((here, name)) = &seen.here else {
        return Ok(kept);
    };
    let name = show::plain(name);
    for (project, key) in &seen.granted {
        let subject = Subject::of(project.clone())?;
        let goes_on = |why: &str| {
            format!(
                "{name} signs for you in {} until the grant ends: {why}",
                subject.name
            )
        };
        if !own.can_sign(key) {
            let console = &mut *errand.console;
            console.warning(goes_on("the key that would take it back is gone"));
            kept.insert((project.project_id.clone(), *key));
            continue;
        }
        let what_for = format!("taking back the grant for {name} needs a signature");
        let signer = keys.signer(key)?;
        let desk = errand.desk(&subject, what_for)?.with(signer);
        let wish = Wish::Ungrant {
            envoy: Some(here.to_string()),
        };
        match desk.carry_out(errand, wish, &[May::Ungrant { envoy: *here }]) {
            Ok(_) => errand.console.line(format_args!(
                "{name} signs for you in {} no longer",
                subject.name
            ))?,
            Err(failure) if arguments.without_envoy => {
                errand.console.warning(goes_on(&failure.what));
                kept.insert((project.project_id.clone(), *key));
            }
            Err(failure) => return Err(not_taken_back(&failure, &subject).into()),
        }
    }
    Ok(kept)
}

/// A fetch or a push at the same time may have had a grant signed again.
fn refuse_new_grants(
    errand: &mut Errand<'_, '_>,
    own: &Own,
    kept: &BTreeSet<(String, PuddleKey)>,
    arguments: &cli::PuddleLeave,
) -> Result<(), Failure> {
    let seen = look_around(errand, own, arguments)?;
    let again = seen
        .granted
        .iter()
        .find(|(project, key)| !kept.contains(&(project.project_id.clone(), *key)));
    match again {
        None => Ok(()),
        Some((project, _)) => {
            let name = naming::display(project);
            let what = format!("{name} was granted to this machine's envoy again");
            Err(Failure::new(exit_code::FAILED, what)
                .because("something else used the puddle at the same time")
                .hint("nothing was removed; run this again"))
        }
    }
}

fn clear(
    context: &Context,
    own: &Own,
    removal: Removal,
    seen: &Seen,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let layout = &context.layout;
    let mut left = removal.finish().map_err(|error| not_removed(&error))?;
    // Whoever has unlocked it just now sees that it is gone, and this is for the case that they cannot.
    end_session(context)?;
    left.extend(forget_projects(&layout.projects_dir));
    console.line(format_args!(
        "Removed puddle {} from this machine",
        own.public.name
    ))?;
    for path in &left {
        console.warning(format_args!("left alone: {}", path.display()));
    }
    if !seen.copies.is_empty() {
        console.warning(format_args!(
            "copies stay on this machine: {}",
            seen.copies.join(", ")
        ));
        console.hint(
            "to delete one: vigo swarm gitback purge PROJECT, as root or whoever runs the daemon",
        );
    }
    Ok(())
}

fn forget_projects(projects_dir: &std::path::Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for id in home::projects(projects_dir) {
        left.extend(home::forget(projects_dir, &id, &KEPT));
    }
    // It stays where something is in it.
    if std::fs::remove_dir(projects_dir).is_err() {
        let entries = std::fs::read_dir(projects_dir).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        left.extend(
            paths
                .filter(|path| !left.iter().any(|one| one.starts_with(path)))
                .collect::<Vec<_>>(),
        );
    }
    left
}

fn without_envoy(failure: Failure) -> Failure {
    if failure.code != exit_code::UNREACHABLE {
        return failure;
    }
    failure.hint("to leave all the same: vigo swarm puddle leave --without-envoy")
}

fn perhaps_last(own: &Own, seen: &Seen) -> Failure {
    let what = format!("this may be the last machine that has {}", keys_text(own));
    let lost = lost_text(own, seen).unwrap_or_default();
    Failure::new(exit_code::FAILED, what)
        .because(format!(
            "nothing here shows that {lost} in use on another one"
        ))
        .hint("write it down first: vigo swarm puddle recovery")
        .hint("if projects go by an earlier key: vigo swarm gitback project reanchor --all")
        .hint("if it is safe, or you do not need it: --even-last")
}

fn not_handed_over(seen: &Seen) -> Failure {
    let what = format!("still by an earlier key: {}", seen.behind.join(", "));
    Failure::new(exit_code::FAILED, what)
        .because("only that key can hand them over, and this would delete it")
        .hint("hand them over first: vigo swarm gitback project reanchor --all")
        .hint("if it is safe, or you do not need them: --even-last")
}

fn unread(failure: &Failure, name: &str) -> Failure {
    let what = format!("{name}: {}", failure.what);
    Failure::new(failure.code, what)
        .because("what was granted there is not known")
        .hint("to leave all the same: vigo swarm puddle leave --without-envoy")
}

fn not_taken_back(failure: &Failure, subject: &Subject) -> Failure {
    let what = format!("{}: {}", subject.name, failure.what);
    let because = failure
        .why
        .clone()
        .unwrap_or_else(|| "the envoy still signs for you there".to_owned());
    let hints = failure.hints.iter();
    hints
        .fold(
            Failure::new(failure.code, what).because(because),
            |failure, hint| failure.hint(hint.clone()),
        )
        .hint("nothing was removed; run this again")
        .hint("to leave all the same: --without-envoy")
}

fn not_removed(error: &RemoveError) -> Failure {
    let failure = Failure::new(exit_code::FAILED, "the puddle's files were not all removed")
        .because(failure::chain(error));
    match error {
        RemoveError::Lock(WriteError::Busy { .. }) => failure.hint("try again in a moment"),
        _ => failure.hint("run this again"),
    }
}

#[cfg(test)]
mod tests {
    use gitback_helper::GrantStatus;

    use super::*;
    use crate::people::tests::key;

    const NOW_MS: u64 = 1_000;
    const HERE: &str = "here";
    const OTHER: &str = "other";

    fn own() -> Own {
        Own {
            public: Public {
                name: "dan".parse().expect("a name"),
                key: key(1),
                created_ms: 0,
            },
            has_present: true,
            retired: vec![key(2)],
        }
    }

    fn entry(puddle: u8, envoy: &str, kind: &str) -> LogEntry {
        LogEntry {
            id: String::new(),
            kind: kind.to_owned(),
            puddle: key(puddle).to_string(),
            signer: key(puddle).to_string(),
            envoy: Some(envoy.to_owned()),
            incarnation: String::new(),
            seq: 0,
            time_ms: None,
            verdict: "valid".to_owned(),
            code: None,
            rule: None,
            why: None,
            says: String::new(),
            prev: None,
            deps: vec![],
            grant: None,
            ungrants: None,
        }
    }

    fn grant(puddle: u8, envoy: &str) -> LogEntry {
        LogEntry {
            grant: Some(GrantStatus {
                envoy: envoy.to_owned(),
                uid: 1000,
                expires_ms: Some(NOW_MS + 1),
                live: true,
            }),
            ..entry(puddle, envoy, "grant.v1")
        }
    }

    fn ungrant(puddle: u8, of: &str, written_on: &str) -> LogEntry {
        LogEntry {
            ungrants: Some(of.to_owned()),
            ..entry(puddle, written_on, "ungrant.v1")
        }
    }

    fn with(mut entry: LogEntry, change: impl FnOnce(&mut GrantStatus)) -> LogEntry {
        change(entry.grant.as_mut().expect("a grant"));
        entry
    }

    #[track_caller]
    fn check(entries: &[LogEntry], granted: &[u8], elsewhere: &[(u8, &str)]) {
        let facts = Facts {
            own: &own(),
            here: HERE,
            uid: 1000,
            now_ms: NOW_MS,
            removed: &BTreeSet::from(["lost".to_owned()]),
        };
        let mut log = GrantLog::default();
        for entry in entries {
            log.take_in(&facts, entry).expect("taken in");
        }
        let elsewhere = elsewhere.iter();
        let expected = GrantLog {
            granted: granted.iter().map(|seed| key(*seed)).collect(),
            elsewhere: elsewhere
                .map(|(seed, envoy)| (key(*seed), (*envoy).to_owned()))
                .collect(),
        };
        assert_eq!(log, expected);
    }

    #[test]
    fn a_grant_in_force_on_another_envoy_shows_the_key_there() {
        check(&[grant(1, OTHER)], &[], &[(1, OTHER)]);
        check(&[grant(2, OTHER)], &[], &[(2, OTHER)]);
        check(&[grant(9, OTHER)], &[], &[]);
    }

    #[test]
    fn what_was_taken_back_anywhere_shows_nothing() {
        check(&[grant(1, OTHER), ungrant(1, OTHER, HERE)], &[], &[]);
        check(&[grant(1, OTHER), ungrant(1, OTHER, OTHER)], &[], &[]);
        // Of another key, or granted again.
        let again = [grant(1, OTHER), ungrant(2, OTHER, HERE)];
        check(&again, &[], &[(1, OTHER)]);
        let again = [grant(1, OTHER), ungrant(1, OTHER, HERE), grant(1, OTHER)];
        check(&again, &[], &[(1, OTHER)]);
    }

    #[test]
    fn what_has_ended_or_is_another_s_word_shows_nothing() {
        let expired = with(grant(1, OTHER), |grant| grant.expires_ms = Some(NOW_MS));
        check(&[expired], &[], &[]);
        check(&[grant(1, "lost")], &[], &[]);
        let void = LogEntry {
            verdict: "void".to_owned(),
            ..grant(1, OTHER)
        };
        check(&[void], &[], &[]);
        let by_envoy = LogEntry {
            signer: key(7).to_string(),
            ..grant(1, OTHER)
        };
        check(&[by_envoy], &[], &[]);
        // An update that the envoy signed says nothing of the key.
        check(&[entry(1, OTHER, "update.v1")], &[], &[]);
    }

    #[test]
    fn every_key_that_this_envoy_signs_for_is_found() {
        check(&[grant(1, HERE), grant(2, HERE)], &[1, 2], &[]);
        let taken_back = with(grant(1, HERE), |grant| grant.live = false);
        check(&[taken_back, ungrant(1, HERE, HERE)], &[], &[]);
        let of_another_user = with(grant(1, HERE), |grant| grant.uid = 1001);
        check(&[of_another_user], &[], &[]);
    }

    #[test]
    fn a_retired_key_needs_a_place_of_its_own() {
        let own = own();
        let mut seen = Seen::default();
        let elsewhere = |seed| (key(seed), BTreeSet::from(["mars".to_owned()]));
        seen.elsewhere.extend([elsewhere(1)]);
        assert_eq!(seen.only_here(&own).collect::<Vec<_>>(), [&key(2)]);
        let lost = lost_text(&own, &seen).expect("one is");
        assert_eq!(lost, "1 key that dan had before is");
        seen.elsewhere.extend([elsewhere(2)]);
        assert_eq!(lost_text(&own, &seen), None);
        // A key whose file is gone already cannot be lost.
        let cut_short = Own {
            has_present: false,
            ..own
        };
        seen.elsewhere.remove(&key(1));
        assert_eq!(lost_text(&cut_short, &seen), None);
    }
}
