//! `project re-found`: begins a project anew under the present key, and closes the old one.
//!
//! The old project is closed last, so that whatever stops on the way leaves it usable; a second run finds out what is
//! done and goes on.

use std::path::Path;

use gitback_envelope::{Policy, Scope};
use gitback_helper::{Failure, ProjectStatus, Request, Wish, exit_code};
use gitback_identity::{Address, Handle, Host, ProjectId, PuddleKey};
use gitback_puddle::Public;
use gitback_signer::{May, home};
use serde::{Deserialize, Serialize};

use super::Subject;
use super::invite::{self, Invitation};
use super::reanchor::founder_of;
use crate::console::{Console, Stop};
use crate::errand::Errand;
use crate::founding::{self, policy_of};
use crate::keys::Keys;
use crate::people::People;
use crate::{cli, failure, show};

/// Says of the new project which one it is to take the place of.
pub(crate) const NOTE: &str = "refound.json";
const NOTE_MAX: u64 = 64 * 1024;

/// The note in the user's home.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    /// The project that it takes the place of.
    from: String,
}

/// The answer of `project re-found --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Refounded {
    project_id: String,
    handle: String,
    address: String,
    /// The old project.
    from: String,
    /// Whether the old project says where it went.
    closed: bool,
    invitations: Vec<Invitation>,
}

/// Begins anew, or goes on with it.
pub(crate) fn refound(errand: &mut Errand<'_, '_>, arguments: &cli::Refound) -> Result<(), Stop> {
    let own = errand.own()?.clone();
    let old = errand.reach(&arguments.project)?;
    let handle = new_handle(arguments, &old)?;
    let id = ProjectId::derive(&own.key, &handle);
    if id == old.id {
        return Err(same_id(&old, &handle).into());
    }
    let refounding = Refounding {
        closer: closer(&errand.people, &own, &old, &id)?,
        address: Address::new(Host::Puddle(own.name.clone()), handle.clone()).to_string(),
        own,
        old,
        new: Subject::named(&id.to_string(), handle.as_str())?,
        handle,
        file: arguments.passphrase_file.as_deref(),
    };
    let invitations = refounding.run(errand)?;
    refounding.report(&invitations, arguments.json, errand.console)
}

/// Who signs that the old project ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closer {
    /// A key of the user's.
    Key(PuddleKey),
    /// It is closed already, for this very successor.
    Done,
    /// Nobody: the daemon has lost its record of the old project.
    Nobody,
}

struct Refounding<'a> {
    own: Public,
    old: Subject,
    closer: Closer,
    new: Subject,
    handle: Handle,
    address: String,
    file: Option<&'a Path>,
}

impl Refounding<'_> {
    fn run(&self, errand: &mut Errand<'_, '_>) -> Result<Vec<Invitation>, Failure> {
        if self.closer != Closer::Done {
            self.begin(errand)?;
        }
        let invitations = self.invite(errand)?;
        if let Closer::Key(key) = self.closer {
            self.close(errand, &key)?;
        }
        Ok(invitations)
    }

    /// The new project with policy, grant and refs.
    fn begin(&self, errand: &mut Errand<'_, '_>) -> Result<(), Failure> {
        let id = self.new.id.to_string();
        let what_for = format!("founding {} needs a signature", self.handle);
        let desk = errand.desk(&self.new, what_for)?;
        // What is locked is to be known before anything is made.
        desk.signer()?;
        let known = errand.look_up(&id)?;
        self.note(&errand.context.layout.projects_dir, known.as_ref())?;
        if known.is_none() {
            founding::found(errand, &desk, &self.handle)?;
        }
        let now = errand.project(&id)?;
        let policy = self.policy();
        if policy_of(&now) != policy {
            founding::set_policy(errand, &desk, &policy)?;
        }
        if now.role.is_none() {
            founding::grant(errand, &desk)?;
        }
        if self.lacks_refs(&now) {
            errand.have_done(&Request::CarryOver {
                from: self.old.id.to_string(),
                to: id,
            })?;
        }
        Ok(())
    }

    /// Everybody who is in the old one.
    fn invite(&self, errand: &mut Errand<'_, '_>) -> Result<Vec<Invitation>, Failure> {
        let Some(old) = &self.old.status else {
            return Ok(Vec::new());
        };
        let subject = Subject::of(errand.project(&self.new.id.to_string())?)?;
        let mut invitations = Vec::new();
        for member in invite::members(old) {
            let guest = errand.people.person(&member.puddle);
            let (Some(guest), Some(role)) = (guest, invite::role_of(&member.role)) else {
                continue;
            };
            if !errand.people.is_own(&guest.key) {
                invitations.extend(invite::one(errand, &subject, &guest, role)?);
            }
        }
        Ok(invitations)
    }

    /// The tombstone.
    fn close(&self, errand: &mut Errand<'_, '_>, key: &PuddleKey) -> Result<(), Failure> {
        let mut keys = Keys::new(errand.context, self.own.clone(), self.file);
        let what_for = format!("closing {} needs a signature", self.old.name);
        let desk = errand.desk(&self.old, what_for)?.with(keys.signer(key)?);
        let wish = Wish::Tombstone {
            founder: self.own.key.to_string(),
            handle: self.handle.to_string(),
        };
        let may = [May::Tombstone {
            founder: self.own.key,
            handle: self.handle.clone(),
        }];
        desk.carry_out(errand, wish, &may)?;
        Ok(())
    }

    /// As the old one was kept; as a new one is, where nobody knows.
    fn policy(&self) -> Policy {
        match &self.old.status {
            Some(old) => policy_of(old),
            None => Policy {
                scope: Scope::SwarmWide,
                protected: Vec::new(),
                replicas: None,
            },
        }
    }

    /// Whether a ref of the old project is not in the new one. What has moved there since is not moved back.
    fn lacks_refs(&self, now: &ProjectStatus) -> bool {
        let Some(old) = &self.old.status else {
            return now.refs == 0;
        };
        let mut names = old.ref_list.iter().map(|found| &found.name);
        names.any(|name| !now.ref_list.iter().any(|found| found.name == *name))
    }

    /// Notes what the new project is for. One that is there and was not begun for this is left alone.
    fn note(&self, dir: &Path, known: Option<&ProjectStatus>) -> Result<(), Failure> {
        let from = self.old.id.to_string();
        let noted = home::read(dir, &self.new.id, NOTE, NOTE_MAX);
        let noted = noted.and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        match noted {
            Some(note) if note.from == from => return Ok(()),
            _ if known.is_some() => return Err(taken(&self.own, &self.new)),
            _ => {}
        }
        let note = Note { version: 1, from };
        let json = serde_json::to_vec_pretty(&note).unwrap_or_default();
        home::write(dir, &self.new.id, NOTE, &json).map_err(|fault| failure::write_home(&fault))
    }

    fn report(
        &self,
        invitations: &[Invitation],
        json: cli::Json,
        console: &mut Console<'_>,
    ) -> Result<(), Stop> {
        let before = format!("gitback://{}/{}", self.old.id, self.old.handle);
        let closed = self.closer != Closer::Nobody;
        if json.json {
            return console.json(&Refounded {
                project_id: self.new.id.to_string(),
                handle: self.handle.to_string(),
                address: self.address.clone(),
                from: self.old.id.to_string(),
                closed,
                invitations: invitations.to_vec(),
            });
        }
        let heading = format!("Project {}/{}", self.own.name, self.handle);
        console.line(format_args!("{heading:<38}  id {}", self.new.id.short()))?;
        console.line(format_args!("  Address   {}", self.address))?;
        let state = if closed { "closed" } else { "not closed" };
        console.line(format_args!(
            "  Before    {} ({state})",
            show::plain(&before)
        ))?;
        if !invitations.is_empty() {
            console.line("  Members   each types:")?;
        }
        for invitation in invitations {
            console.line(&invitation.command)?;
        }
        if !closed {
            console.warning("the old project does not say where it went: its record is lost here");
            console.warning("its members are not known either; invite them by hand");
        }
        console.hint(format_args!(
            "folders that name the old id: git remote set-url gitback {}",
            self.address
        ));
        Ok(())
    }
}

fn new_handle(arguments: &cli::Refound, old: &Subject) -> Result<Handle, Failure> {
    let text = arguments.handle.as_ref().unwrap_or(&old.handle);
    text.parse()
        .map_err(|reject| failure::handle(text, &reject))
}

fn closer(
    people: &People,
    own: &Public,
    old: &Subject,
    new: &ProjectId,
) -> Result<Closer, Failure> {
    let Some(status) = &old.status else {
        return Ok(Closer::Nobody);
    };
    if let Some(other) = status.successors.first() {
        let is_new = |project: &str| project == new.to_string();
        return match status.successors.iter().any(|one| is_new(&one.project)) {
            true => Ok(Closer::Done),
            false => Err(ended(old, &other.project, &other.handle)),
        };
    }
    if status.contest.is_some() {
        return Err(contested(old));
    }
    match founder_of(status) {
        Some(key) if key == own.key || people.is_earlier(&key) => Ok(Closer::Key(key)),
        _ => Err(not_yours(old)),
    }
}

fn same_id(old: &Subject, handle: &Handle) -> Failure {
    let what = format!("under this key, {handle} is {} itself", old.name);
    Failure::new(exit_code::USAGE, what)
        .because("a project's id follows from its founder's key and its handle")
        .hint(format!("choose another handle: --handle {handle}-2"))
}

fn taken(own: &Public, new: &Subject) -> Failure {
    let (name, handle, id) = (&own.name, &new.handle, new.id.short());
    let what = format!("{name} already has another project called {handle} (id {id})");
    Failure::new(exit_code::FAILED, what)
        .because("it was not begun to take the place of the old one")
        .hint(format!("choose another handle: --handle {handle}-2"))
}

fn ended(old: &Subject, project: &str, handle: &str) -> Failure {
    let what = format!("{} has ended already", old.name);
    Failure::new(exit_code::FAILED, what).because(format!(
        "gitback://{}/{} takes its place",
        show::plain(project),
        show::plain(handle)
    ))
}

fn contested(old: &Subject) -> Failure {
    let what = format!("several keys claim to be the founder of {}", old.name);
    Failure::new(exit_code::CONTESTED, what)
        .because("until that is settled, nothing of the founder's counts")
        .hint(format!(
            "who they are: vigo swarm gitback project status {}",
            old.id.short()
        ))
}

fn not_yours(old: &Subject) -> Failure {
    let what = format!("only its founder can close {}", old.name);
    Failure::new(exit_code::NOT_PERMITTED, what)
        .because("neither your present key nor an earlier one on this machine is its founder's")
        .hint("to start a project of your own: vigo swarm gitback project init")
}

#[cfg(test)]
mod tests {
    use gitback_helper::{HopStatus, RefStatus, SuccessorStatus};

    use super::*;
    use crate::naming::tests::{dan, project};
    use crate::people::tests::{key, known};

    fn old(founder: &PuddleKey) -> Subject {
        let hop = HopStatus {
            hop: 0,
            key: founder.to_string(),
            fingerprint: founder.fingerprint().to_string(),
            delegate: None,
        };
        let status = ProjectStatus {
            line: vec![hop],
            ..project(Some("dan"), "notes", "7f3a91c2")
        };
        Subject::of(status).expect("a project")
    }

    fn check(subject: &Subject, expected: Result<Closer, u8>) {
        let new = ProjectId::from_bytes(&[9; 32]);
        let found = closer(&known(), &dan(), subject, &new);
        assert_eq!(found.map_err(|failure| failure.code), expected);
    }

    #[test]
    fn the_founder_closes_with_whichever_key_it_has() {
        check(&old(&dan().key), Ok(Closer::Key(dan().key)));
        check(&old(&key(6)), Ok(Closer::Key(key(6))));
        check(&old(&key(8)), Err(exit_code::NOT_PERMITTED));
        let lost = Subject {
            status: None,
            ..old(&key(8))
        };
        check(&lost, Ok(Closer::Nobody));
    }

    #[test]
    fn what_has_ended_is_closed_or_somebody_elses() {
        let with = |project: String| {
            let mut subject = old(&dan().key);
            if let Some(status) = &mut subject.status {
                status.successors = vec![SuccessorStatus {
                    project,
                    founder: dan().key.to_string(),
                    handle: "notes-2".to_owned(),
                }];
            }
            subject
        };
        check(&with("09".repeat(32)), Ok(Closer::Done));
        check(&with("08".repeat(32)), Err(exit_code::FAILED));
    }

    #[test]
    fn refs_are_carried_over_until_all_of_them_are_there() {
        let refs = |names: &[&str]| {
            let refs = names.iter().map(|name| RefStatus {
                name: (*name).to_owned(),
                oid: String::new(),
            });
            refs.collect::<Vec<_>>()
        };
        let own = dan();
        let mut subject = old(&own.key);
        if let Some(status) = &mut subject.status {
            status.ref_list = refs(&["a", "b"]);
        }
        let refounding = Refounding {
            new: Subject::named(&"9".repeat(64), "notes").expect("a project"),
            own,
            old: subject,
            closer: Closer::Nobody,
            handle: "notes".parse().expect("a handle"),
            address: String::new(),
            file: None,
        };
        let lacks = |names: &[&str]| {
            refounding.lacks_refs(&ProjectStatus {
                ref_list: refs(names),
                ..ProjectStatus::default()
            })
        };
        assert!(lacks(&[]));
        assert!(lacks(&["a"]));
        assert!(!lacks(&["b", "a", "new"]));
    }
}
