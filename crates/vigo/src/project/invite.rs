//! `project invite` and `project re-invite-all`.

use gitback_envelope::{Act, Verified};
use gitback_helper::{Failure, MemberStatus, ProjectStatus, Wish, exit_code};
use gitback_signer::May;
use serde::Serialize;

use super::Subject;
use super::subject::by_present_key;
use crate::console::Stop;
use crate::errand::Errand;
use crate::people::{People, Person, oneself, texts};
use crate::{ask, cli, failure, show};

/// One invitation, and what its guest types.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Invitation {
    pub(crate) project_id: String,
    pub(crate) handle: String,
    pub(crate) puddle: String,
    pub(crate) fingerprint: String,
    pub(crate) name: Option<String>,
    pub(crate) role: String,
    pub(crate) invitation: String,
    pub(crate) address: String,
    pub(crate) command: String,
}

impl Invitation {
    fn new(subject: &Subject, guest: &Person, role: &str, id: &str) -> Self {
        let address = format!("gitback://{}/{}", subject.id, subject.handle);
        Self {
            project_id: subject.id.to_string(),
            handle: subject.handle.clone(),
            puddle: guest.key.to_string(),
            fingerprint: guest.key.fingerprint().to_string(),
            name: guest.name.as_ref().map(ToString::to_string),
            role: role.to_owned(),
            invitation: id.to_owned(),
            command: format!("vigo swarm gitback project join {address} --invitation {id}"),
            address,
        }
    }
}

/// Invites everybody who is named, and prints for each what they type.
pub(crate) fn invite(errand: &mut Errand<'_, '_>, arguments: &cli::Invite) -> Result<(), Stop> {
    let project = errand.chosen(arguments.project.as_deref())?;
    by_present_key(&project, &errand.people)?;
    // Nobody is invited before everybody is known.
    let guests = guests(errand, &project, &arguments.who)?;
    let subject = Subject::of(project.clone())?;
    if !arguments.yes {
        confirm(errand, &subject, &guests, arguments.role)?;
    }
    let mut invitations = Vec::new();
    for guest in guests {
        let invited = one(errand, &subject, &guest, arguments.role)?;
        if let Some(invitation) = invited {
            if !arguments.json.json {
                errand.console.line(&invitation.command)?;
            }
            invitations.push(invitation);
        }
    }
    errand.remember();
    if arguments.json.json {
        return errand.console.json(&invitations);
    }
    if !invitations.is_empty() {
        errand
            .console
            .hint("to accept, they type that line; it is of no use to anybody else");
    }
    Ok(())
}

/// Asks about everybody who was found by a claim alone: whose key it is, no name proves.
fn confirm(
    errand: &mut Errand<'_, '_>,
    subject: &Subject,
    guests: &[Person],
    role: cli::Role,
) -> Result<(), Failure> {
    let now = show::now_ms();
    for guest in guests {
        let Some(claim) = errand.claim_of(guest) else {
            continue;
        };
        let (name, words) = (guest.called(), guest.key.fingerprint());
        let known = show::span(now.saturating_sub(claim.since_ms));
        let console = &mut *errand.console;
        console.progress(format_args!(
            "{name} is  {words}  (claimed, known here for {known}; you have not used the name before)"
        ));
        let question = format!(
            "Invite {name} to {} as {}? [y/N] ",
            subject.name,
            word(role)
        );
        if !ask::yes(&question, console)? {
            return Err(failure::not_confirmed("nobody was invited"));
        }
    }
    Ok(())
}

/// Invites every live member again.
pub(crate) fn again(errand: &mut Errand<'_, '_>, arguments: &cli::Named) -> Result<(), Stop> {
    let project = errand.chosen(Some(&arguments.project))?;
    let subject = Subject::of(project.clone())?;
    let what_for = format!(
        "inviting the members of {} again needs a signature",
        subject.name
    );
    let desk = errand.desk(&subject, what_for)?;
    let may: Vec<May> = members(&project)
        .into_iter()
        .filter_map(|member| {
            may_invite(
                &errand.people.person(&member.puddle)?,
                role_of(&member.role)?,
            )
        })
        .collect();
    let sealed = desk.carry_out(errand, Wish::ReinviteAll, &may)?;
    let invitations: Vec<Invitation> = sealed
        .iter()
        .filter_map(|envelope| invitation(&errand.people, &subject, envelope))
        .collect();
    errand.console.progress(format_args!(
        "Invited {} of {} again; their machines accept when their puddles are unlocked",
        show::count(invitations.len() as u64, "member"),
        subject.name
    ));
    if arguments.json.json {
        return errand.console.json(&invitations);
    }
    for invitation in &invitations {
        errand.console.line(&invitation.command)?;
    }
    Ok(())
}

/// Whoever is in the project now, each once, with the membership that allows most.
pub(crate) fn members(project: &ProjectStatus) -> Vec<&MemberStatus> {
    let mut members: Vec<&MemberStatus> = Vec::new();
    for member in project.member_list.iter().filter(|one| one.state == "live") {
        let same = members.iter_mut().find(|one| one.puddle == member.puddle);
        match same {
            Some(known) if member.role == "member" => *known = member,
            Some(_) => {}
            None => members.push(member),
        }
    }
    members
}

pub(crate) fn role_of(word: &str) -> Option<cli::Role> {
    match word {
        "member" => Some(cli::Role::Member),
        "reader" => Some(cli::Role::Reader),
        _ => None,
    }
}

/// Invites one puddle, unless it is in, or was invited and has not come yet. Nothing: it is in.
pub(crate) fn one(
    errand: &mut Errand<'_, '_>,
    subject: &Subject,
    guest: &Person,
    role: cli::Role,
) -> Result<Option<Invitation>, Failure> {
    let word = word(role);
    let (name, who) = (&subject.name, guest.in_full());
    let made = |id: &str| Invitation::new(subject, guest, word, id);
    let before = subject.status.iter().flat_map(|status| &status.member_list);
    let key = guest.key.to_string();
    let mut same = before.filter(|member| member.puddle == key && member.role == word);
    if same.clone().any(|member| member.state == "live") {
        errand
            .console
            .warning(format_args!("{who} is a {word} of {name} already"));
        return Ok(None);
    }
    if let Some(open) = same.find(|member| member.state == "open") {
        errand.console.progress(format_args!(
            "{who} was invited to {name} already, as {word}"
        ));
        return Ok(Some(made(&open.invite)));
    }
    let what_for = format!("inviting {} needs a signature", guest.called());
    let desk = errand.desk(subject, what_for)?;
    let wish = Wish::Invite {
        puddle: key,
        role: of_helper(role),
    };
    let may: Vec<May> = may_invite(guest, role).into_iter().collect();
    let sealed = desk.carry_out(errand, wish, &may)?;
    let id = sealed
        .iter()
        .find(|envelope| matches!(envelope.statement().act, Act::Invite(_)));
    let id = id.ok_or_else(nothing_drafted)?.id().to_string();
    errand
        .console
        .progress(format_args!("Invited {who} to {name}, as {word}"));
    Ok(Some(made(&id)))
}

fn may_invite(guest: &Person, role: cli::Role) -> Option<May> {
    let role = match role {
        cli::Role::Member => gitback_envelope::Role::Member,
        cli::Role::Reader => gitback_envelope::Role::Reader,
    };
    Some(May::Invite(gitback_envelope::Invite {
        puddle: guest.key,
        role,
    }))
}

/// The daemon drafted nothing of what was wished for.
pub(crate) fn nothing_drafted() -> Failure {
    Failure::new(
        exit_code::FAILED,
        "the daemon drafted something else than it was asked for",
    )
    .because("what was signed gathers heads and changes nothing")
    .hint("use one version of vigo and git-remote-gitback, and start the daemon again")
}

fn invitation(people: &People, subject: &Subject, envelope: &Verified) -> Option<Invitation> {
    let Act::Invite(invite) = &envelope.statement().act else {
        return None;
    };
    let guest = people.person(&invite.puddle.to_string())?;
    let role = match invite.role {
        gitback_envelope::Role::Member => cli::Role::Member,
        gitback_envelope::Role::Reader => cli::Role::Reader,
    };
    let id = envelope.id().to_string();
    Some(Invitation::new(subject, &guest, word(role), &id))
}

/// Who is meant.
fn guests(
    errand: &mut Errand<'_, '_>,
    project: &ProjectStatus,
    who: &[String],
) -> Result<Vec<Person>, Failure> {
    let mut guests = Vec::new();
    for text in texts(who) {
        let guest = somebody(errand, project, &text)?;
        if errand.people.is_own(&guest.key) {
            return Err(oneself(&guest));
        }
        guests.push(guest);
    }
    Ok(guests)
}

/// Finds a person: by key or name, else in this project, else in any that is on this machine.
fn somebody(
    errand: &mut Errand<'_, '_>,
    project: &ProjectStatus,
    text: &str,
) -> Result<Person, Failure> {
    let here = std::slice::from_ref(project);
    match errand.find(text, here) {
        Err(failure) if failure.code == exit_code::UNKNOWN => {}
        other => return other,
    }
    let mut all = Vec::new();
    for listed in errand.projects()? {
        // One that cannot be shown has nobody to show either.
        all.extend(errand.project(&listed.project_id));
    }
    errand.find(text, &all)
}

pub(crate) fn of_helper(role: cli::Role) -> gitback_helper::Role {
    match role {
        cli::Role::Member => gitback_helper::Role::Member,
        cli::Role::Reader => gitback_helper::Role::Reader,
    }
}

fn word(role: cli::Role) -> &'static str {
    match role {
        cli::Role::Member => "member",
        cli::Role::Reader => "reader",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::tests::{key, member};

    #[test]
    fn members_are_named_once_with_what_they_may_do() {
        let (alice, bob) = (key(8), key(9));
        let project = ProjectStatus {
            member_list: vec![
                member(&alice, "reader", "live", "01"),
                member(&bob, "member", "left", "02"),
                member(&alice, "member", "live", "03"),
                member(&alice, "reader", "live", "04"),
                member(&bob, "reader", "live", "05"),
            ],
            ..ProjectStatus::default()
        };
        let members = members(&project);
        let members: Vec<&str> = members.iter().map(|one| one.invite.as_str()).collect();
        assert_eq!(members, ["03", "05"]);
    }

    #[test]
    fn what_a_guest_types_is_whole() {
        let guest = Person {
            key: key(8),
            name: None,
        };
        let subject = Subject::named(&"ab".repeat(32), "notes").expect("a project");
        let made = Invitation::new(&subject, &guest, "member", "cd");
        let id = "ab".repeat(32);
        assert_eq!(
            made.command,
            format!("vigo swarm gitback project join gitback://{id}/notes --invitation cd")
        );
    }
}
