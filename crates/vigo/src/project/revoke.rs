//! `project revoke` and `project ungrant`: taking back what was allowed.

use gitback_envelope::EnvelopeId;
use gitback_helper::{CopyStatus, Failure, MemberStatus, ProjectStatus, Wish, exit_code};
use gitback_identity::EnvoyKey;
use gitback_signer::May;
use serde::Serialize;

use super::Subject;
use super::subject::by_present_key;
use crate::console::Stop;
use crate::errand::Errand;
use crate::people::{Person, oneself};
use crate::{ask, cli, envoy, failure, naming, show};

/// The answer of `project revoke --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Revoked {
    project_id: String,
    puddle: String,
    fingerprint: String,
    name: Option<String>,
    invitations: Vec<String>,
}

/// The answer of `project ungrant --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Ungranted {
    project_id: String,
    envoy: String,
    name: String,
}

/// Ends every membership of one puddle.
pub(crate) fn revoke(errand: &mut Errand<'_, '_>, arguments: &cli::Revoke) -> Result<(), Stop> {
    let project = errand.chosen(Some(&arguments.project))?;
    let subject = Subject::of(project.clone())?;
    by_present_key(&project, &errand.people)?;
    let who = arguments.who.join(" ");
    let here = std::slice::from_ref(&project);
    let person = errand.find(&who, here)?;
    if errand.people.is_own(&person.key) {
        return Err(oneself(&person)
            .hint("to leave: vigo swarm gitback project leave")
            .into());
    }
    let ending = memberships(&project, &person);
    if ending.is_empty() {
        return Err(no_member(&person, &subject).into());
    }
    if !arguments.yes {
        let question = format!("Revoke {} from {}? [y/N] ", person.in_full(), subject.name);
        if !ask::yes(&question, errand.console)? {
            return Err(failure::not_confirmed("nobody was revoked").into());
        }
    }
    let what_for = format!("revoking {} needs a signature", person.called());
    let desk = errand.desk(&subject, what_for)?;
    let wish = Wish::Revoke {
        puddle: person.key.to_string(),
    };
    let ids = ending.iter().map(|member| member.invite.parse());
    let invites: Vec<EnvelopeId> = ids.filter_map(Result::ok).collect();
    desk.carry_out(errand, wish, &[May::Revoke { invites }])?;
    if arguments.json.json {
        return errand.console.json(&Revoked {
            project_id: subject.id.to_string(),
            puddle: person.key.to_string(),
            fingerprint: person.key.fingerprint().to_string(),
            name: person.name.as_ref().map(ToString::to_string),
            invitations: ending.iter().map(|member| member.invite.clone()).collect(),
        });
    }
    errand.console.line(format_args!(
        "Revoked {} from {}",
        person.in_full(),
        subject.name
    ))?;
    errand.console.hint(format_args!(
        "what they fetched before stays with them; what counts: vigo swarm gitback log {}",
        subject.id.short()
    ));
    Ok(())
}

/// Takes back that an envoy may sign for the user.
pub(crate) fn ungrant(errand: &mut Errand<'_, '_>, arguments: &cli::Ungrant) -> Result<(), Stop> {
    let project = errand.chosen(Some(&arguments.project))?;
    let subject = Subject::of(project.clone())?;
    let (key, name) = match &arguments.envoy {
        Some(text) => find_envoy(&project.envoys, text)?,
        None => {
            let here = envoy::ask(&mut errand.daemon, errand.console)?;
            let key = here.key.parse();
            (key.map_err(|_| unknown_envoy(&here.key))?, here.name)
        }
    };
    let what_for = format!("taking back the grant for {name} needs a signature");
    let desk = errand.desk(&subject, what_for)?;
    let wish = Wish::Ungrant {
        envoy: Some(key.to_string()),
    };
    desk.carry_out(errand, wish, &[May::Ungrant { envoy: key }])?;
    if arguments.json.json {
        return errand.console.json(&Ungranted {
            project_id: subject.id.to_string(),
            envoy: key.to_string(),
            name,
        });
    }
    let name = show::plain(&name);
    errand.console.line(format_args!(
        "{name} signs for you in {} no longer",
        subject.name
    ))?;
    errand.console.hint(format_args!(
        "a push or fetch on {name} signs a new grant when the puddle is unlocked"
    ));
    Ok(())
}

/// Memberships of one puddle that can be ended.
fn memberships<'a>(project: &'a ProjectStatus, person: &Person) -> Vec<&'a MemberStatus> {
    let key = person.key.to_string();
    let members = project.member_list.iter();
    members
        .filter(|member| member.puddle == key)
        .filter(|member| matches!(member.state.as_str(), "open" | "live"))
        .collect()
}

/// An envoy by its name, its key, or the beginning of that.
fn find_envoy(envoys: &[CopyStatus], text: &str) -> Result<(EnvoyKey, String), Failure> {
    let found: Vec<&CopyStatus> = envoys
        .iter()
        .filter(|envoy| envoy.name == text || envoy.key.starts_with(text))
        .collect();
    if let [envoy] = found.as_slice()
        && let Ok(key) = envoy.key.parse()
    {
        return Ok((key, envoy.name.clone()));
    }
    match (found.as_slice(), text.parse::<EnvoyKey>()) {
        ([], Ok(key)) => Ok((key, naming::short(text))),
        _ => Err(unknown_envoy(text)),
    }
}

fn unknown_envoy(text: &str) -> Failure {
    let what = format!("no envoy is known as {}", show::plain(text));
    Failure::new(exit_code::UNKNOWN, what).hint("which there are: vigo envoy status")
}

fn no_member(person: &Person, subject: &Subject) -> Failure {
    let what = format!("{} is not a member of {}", person.in_full(), subject.name);
    Failure::new(exit_code::UNKNOWN, what).hint(format!(
        "who is: vigo swarm gitback project status {}",
        subject.id.short()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::{key, member};

    #[test]
    fn only_what_lasts_can_be_ended() {
        let (alice, bob) = (key(8), key(9));
        let project = ProjectStatus {
            member_list: vec![
                member(&alice, "reader", "left", "01"),
                member(&alice, "reader", "open", "02"),
                member(&alice, "member", "live", "03"),
                member(&bob, "member", "live", "04"),
                member(&alice, "member", "revoked", "05"),
            ],
            ..ProjectStatus::default()
        };
        let alice = Person {
            key: alice,
            name: None,
        };
        let ending = memberships(&project, &alice);
        let ending: Vec<&str> = ending.iter().map(|member| member.invite.as_str()).collect();
        assert_eq!(ending, ["02", "03"]);
    }

    #[test]
    fn envoys_are_found_by_name_or_key() {
        let envoy = |name: &str, seed: u8| CopyStatus {
            name: name.to_owned(),
            key: key(seed).to_string(),
            state: "current".to_owned(),
            behind: None,
            updates_behind: None,
            reason: None,
            since_ms: None,
        };
        let envoys = [envoy("mars", 1), envoy("venus", 2)];
        let check = |text: &str, expected: Option<u8>| {
            let found = find_envoy(&envoys, text)
                .ok()
                .map(|(key, _)| key.to_string());
            assert_eq!(found, expected.map(|seed| key(seed).to_string()), "{text}");
        };
        check("venus", Some(2));
        check(&key(1).to_string(), Some(1));
        check(&key(1).to_string()[..10], Some(1));
        check(&key(3).to_string(), Some(3));
        check("pluto", None);
        check("", None);
    }
}
