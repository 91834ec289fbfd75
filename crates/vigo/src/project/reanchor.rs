//! `project reanchor` and `project pick-line`: who speaks for the founder.

use gitback_envelope::{Act, EnvelopeId, HOPS_MAX};
use gitback_helper::{ContestStatus, Failure, ProjectStatus, Request, Wish, exit_code};
use gitback_identity::PuddleKey;
use gitback_signer::{Approved, May, Signer};
use serde::Serialize;

use super::{Subject, has_ended};
use crate::console::Stop;
use crate::desk::Desk;
use crate::errand::Errand;
use crate::keys::Keys;
use crate::{cli, founding, naming, show};

/// What became of one project.
///
/// Source: docs/spec/json.md.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Handed {
    project_id: String,
    handle: String,
    /// `handed over`, `already` or `failed`.
    outcome: &'static str,
    /// How often the founder line has passed on.
    hop: u64,
    error: Option<String>,
}

/// Hands one project or all to the puddle's present key.
pub(crate) fn reanchor(errand: &mut Errand<'_, '_>, arguments: &cli::Reanchor) -> Result<(), Stop> {
    let own = errand.own()?.clone();
    let file = arguments.passphrase_file.as_deref();
    let mut keys = Keys::new(errand.context, own, file);
    let (handed, failed) = if arguments.all {
        hand_all(errand, &mut keys, arguments.json)?
    } else {
        let project = errand.chosen(arguments.project.as_deref())?;
        let handed = one(errand, &mut keys, &project)?;
        tell(errand, &project, &handed, arguments.json)?;
        (vec![handed], None)
    };
    if arguments.json.json {
        errand.console.json(&handed)?;
    }
    match failed {
        None => Ok(()),
        Some(first) => Err(some_failed(&handed, &first).into()),
    }
}

/// Hands over what it can; gives the first failure.
fn hand_all(
    errand: &mut Errand<'_, '_>,
    keys: &mut Keys<'_>,
    json: cli::Json,
) -> Result<(Vec<Handed>, Option<Failure>), Stop> {
    let projects = of_own_keys(errand)?;
    if projects.is_empty() {
        let text = "Nothing to hand over: no project goes by an earlier key of yours";
        errand.console.progress(text);
    }
    let (mut all, mut failed) = (Vec::new(), None);
    for project in &projects {
        let handed = match one(errand, keys, project) {
            Ok(handed) => handed,
            Err(failure) => {
                let name = naming::display(project);
                let console = &mut *errand.console;
                console.warning(format_args!("{name} was not handed over"));
                if !json.json {
                    console.failure(&failure);
                }
                let error = Some(failure.what.clone());
                failed.get_or_insert(failure);
                Handed {
                    outcome: "failed",
                    error,
                    ..already(project)
                }
            }
        };
        tell(errand, project, &handed, json)?;
        all.push(handed);
    }
    Ok((all, failed))
}

/// Projects that a key of the user speaks for, now or earlier.
fn of_own_keys(errand: &mut Errand<'_, '_>) -> Result<Vec<ProjectStatus>, Failure> {
    let mut projects = Vec::new();
    for listed in errand.projects()? {
        let project = errand.project(&listed.project_id)?;
        let founder = founder_of(&project);
        if founder.is_some_and(|key| errand.people.is_own(&key)) && !has_ended(&project) {
            projects.push(project);
        }
    }
    Ok(projects)
}

fn one(
    errand: &mut Errand<'_, '_>,
    keys: &mut Keys<'_>,
    project: &ProjectStatus,
) -> Result<Handed, Failure> {
    let subject = Subject::of(project.clone())?;
    let what_for = format!("handing {} over needs a signature", subject.name);
    let present = errand.own()?.key;
    let founder = founder_of(project).ok_or_else(|| not_yours(&subject))?;
    if founder == present {
        if project.role.is_none() {
            // It stopped between the two steps the last time.
            let desk = errand.desk(&subject, what_for)?;
            founding::grant(errand, &desk.with(keys.signer(&present)?))?;
        }
        return Ok(already(project));
    }
    if !errand.people.is_earlier(&founder) {
        return Err(not_yours(&subject));
    }
    let hop = hops(project).saturating_add(1);
    if hop > HOPS_MAX {
        return Err(used_up(&subject));
    }
    let (old, heir) = (keys.signer(&founder)?, keys.signer(&present)?);
    let desk = errand.desk(&subject, what_for.clone())?.with(old);
    delegate(errand, &desk, &heir)?;
    let desk = errand.desk(&subject, what_for)?.with(heir);
    founding::grant(errand, &desk)?;
    Ok(Handed {
        outcome: "handed over",
        hop,
        ..already(project)
    })
}

/// The founder line passes from whoever signs at `desk` to `heir`, who signs first.
fn delegate(errand: &mut Errand<'_, '_>, desk: &Desk<'_>, heir: &Signer) -> Result<(), Failure> {
    let wish = Wish::Delegate {
        to: heir.key().to_string(),
        next: None,
    };
    let may = [May::Delegate {
        to: *heir.key(),
        next: None,
    }];
    let drafts = desk.ask(errand, wish)?;
    let mut ready = Vec::new();
    for draft in desk.look_at(&drafts, &may)? {
        ready.push(match draft.statement().act {
            Act::Delegate(_) => {
                let accepted = heir.accept(&draft).map_err(|error| desk.unsigned(&error))?;
                accept(draft, accepted)?
            }
            _ => draft,
        });
    }
    let sealed = desk.seal(ready)?;
    desk.submit(errand, &sealed)
}

fn accept(draft: Approved, signature: gitback_identity::Signature) -> Result<Approved, Failure> {
    draft
        .accepted(signature)
        .map_err(|reject| crate::failure::envelope(&reject))
}

/// The key that speaks for the founder now.
pub(crate) fn founder_of(project: &ProjectStatus) -> Option<PuddleKey> {
    let last = project.line.last().map(|hop| &hop.key);
    last.unwrap_or(&project.founder).parse().ok()
}

fn hops(project: &ProjectStatus) -> u64 {
    project.line.last().map_or(0, |hop| hop.hop)
}

fn already(project: &ProjectStatus) -> Handed {
    Handed {
        project_id: project.project_id.clone(),
        handle: project.handle.clone(),
        outcome: "already",
        hop: hops(project),
        error: None,
    }
}

fn tell(
    errand: &mut Errand<'_, '_>,
    project: &ProjectStatus,
    handed: &Handed,
    json: cli::Json,
) -> Result<(), Stop> {
    let console = &mut *errand.console;
    let name = show::plain(&naming::display(project));
    match handed.outcome {
        _ if json.json => Ok(()),
        "handed over" => console.line(format_args!(
            "Handed {name} over to the new key (hop {} of {HOPS_MAX})",
            handed.hop
        )),
        "already" => console.line(format_args!("{name} goes by the present key already")),
        _ => Ok(()),
    }
}

fn some_failed(handed: &[Handed], first: &Failure) -> Failure {
    let failed = handed.iter().filter(|one| one.outcome == "failed").count();
    let what = format!(
        "{failed} of {} were not handed over",
        show::count(handed.len() as u64, "project")
    );
    Failure::new(exit_code::FAILED, what).because(first.what.clone())
}

fn not_yours(subject: &Subject) -> Failure {
    let what = format!("the founder of {} is not a key of yours", subject.name);
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("neither your present key nor an earlier one on this machine speaks for it")
        .hint("bring the earlier key here: copy retired/ of ~/.vigo-puddle from the machine that rotated it")
}

fn used_up(subject: &Subject) -> Failure {
    let what = format!("{} has been handed over {HOPS_MAX} times", subject.name);
    Failure::new(exit_code::FAILED, what)
        .because("a founder line has no more hops, so that everybody can walk it")
        .hint(format!(
            "begin it anew under the new key: vigo swarm gitback project re-found {}",
            subject.id.short()
        ))
}

/// The answer of `project pick-line --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Picked {
    project_id: String,
    hop: Option<u64>,
    delegate: String,
    key: Option<String>,
}

/// Settles on this machine which of several delegations is followed.
pub(crate) fn pick_line(
    errand: &mut Errand<'_, '_>,
    arguments: &cli::PickLine,
) -> Result<(), Stop> {
    let project = errand.chosen(Some(&arguments.project))?;
    let name = naming::display(&project);
    let picked = picked(&project, &arguments.delegate)?;
    let request = Request::PickLine {
        project: project.project_id.clone(),
        delegate: picked.delegate.clone(),
    };
    errand.have_done(&request)?;
    if arguments.json.json {
        return errand.console.json(&picked);
    }
    let heir = picked
        .key
        .as_deref()
        .and_then(|key| errand.people.person(key));
    let heir = heir.map_or_else(
        || format!("delegation {}", naming::short(&picked.delegate)),
        |heir| heir.in_full(),
    );
    errand.console.line(format_args!(
        "On this machine the founder of {} is followed to {heir}",
        show::plain(&name)
    ))
}

/// The delegation whose id begins with `text`. One that the daemon does not show any more, because it follows
/// another, can be named by its whole id.
fn picked(project: &ProjectStatus, text: &str) -> Result<Picked, Failure> {
    let contests = project.contest.iter();
    let rivals = contests.flat_map(|contest: &ContestStatus| {
        contest.rivals.iter().map(|rival| (contest.hop, rival))
    });
    let found: Vec<_> = rivals
        .filter(|(_, rival)| !text.is_empty() && rival.delegate.starts_with(text))
        .collect();
    if let [(hop, rival)] = found.as_slice() {
        return Ok(Picked {
            project_id: project.project_id.clone(),
            hop: Some(*hop),
            delegate: rival.delegate.clone(),
            key: Some(rival.key.clone()),
        });
    }
    if text.parse::<EnvelopeId>().is_err() {
        return Err(no_rival(project, text));
    }
    let mut of_line = project.line.iter();
    let hop = of_line.find(|hop| hop.delegate.as_deref() == Some(text));
    Ok(Picked {
        project_id: project.project_id.clone(),
        hop: hop.map(|hop| hop.hop),
        delegate: text.to_owned(),
        key: hop.map(|hop| hop.key.clone()),
    })
}

fn no_rival(project: &ProjectStatus, text: &str) -> Failure {
    let what = format!(
        "{} is none of the delegations to choose from",
        show::plain(text)
    );
    let failure = Failure::new(exit_code::UNKNOWN, what);
    match project.contest {
        Some(_) => failure.hint(format!(
            "which there are: vigo swarm gitback project status {}",
            naming::short(&project.project_id)
        )),
        None => failure.because("the founder line of this project is not contested here"),
    }
}

#[cfg(test)]
mod tests {
    use gitback_helper::{HopStatus, RivalStatus};

    use super::*;
    use crate::people::tests::key;

    fn contested() -> ProjectStatus {
        let rival = |delegate: &str, seed| RivalStatus {
            delegate: delegate.repeat(32),
            key: key(seed).to_string(),
            fingerprint: key(seed).fingerprint().to_string(),
        };
        let hop = |hop, seed, delegate: Option<&str>| HopStatus {
            hop,
            key: key(seed).to_string(),
            fingerprint: key(seed).fingerprint().to_string(),
            delegate: delegate.map(|delegate| delegate.repeat(32)),
        };
        ProjectStatus {
            founder: key(1).to_string(),
            line: vec![hop(0, 1, None), hop(1, 2, Some("ee"))],
            contest: Some(ContestStatus {
                hop: 2,
                rivals: vec![rival("ab", 8), rival("ac", 9)],
            }),
            ..ProjectStatus::default()
        }
    }

    #[test]
    fn the_last_key_of_the_line_speaks() {
        assert_eq!(founder_of(&contested()), Some(key(2)));
        let mut young = contested();
        young.line.clear();
        assert_eq!(founder_of(&young), Some(key(1)));
    }

    #[test]
    fn a_delegation_goes_by_the_beginning_of_its_id() {
        let check = |text: &str, expected: Option<(u64, PuddleKey)>| {
            let picked = picked(&contested(), text).ok();
            let picked = picked.map(|picked| (picked.hop, picked.key));
            let expected = expected.map(|(hop, key)| (Some(hop), Some(key.to_string())));
            assert_eq!(picked, expected, "{text}");
        };
        // A person may know better than this machine what there is.
        let elsewhere = picked(&contested(), &"cd".repeat(32)).expect("a whole id");
        assert_eq!((elsewhere.hop, elsewhere.key), (None, None));
        check("abab", Some((2, key(8))));
        check("ac", Some((2, key(9))));
        check("a", None);
        check("", None);
        check("zz", None);
        check(&"ee".repeat(32), Some((1, key(2))));
    }
}
