//! `project join`, `project leave` and `project rejoin`: a member's own doing.

use gitback_envelope::{Act, EnvelopeId, Verified};
use gitback_helper::{Draft, Failure, Reply, Request, Wish, exit_code};
use gitback_identity::{Address, EnvoyKey, ProjectId};
use gitback_signer::{Author, May, fresh_incarnation, grant};
use serde::Serialize;

use super::Subject;
use crate::console::Stop;
use crate::desk::{Desk, in_hex};
use crate::errand::Errand;
use crate::{cli, envoy, failure, naming, renew, show};

/// The answer of `project join --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Joined {
    project_id: String,
    handle: String,
    role: Option<String>,
    address: String,
    /// Whether the project was brought to this machine for it.
    brought_in: bool,
}

/// Where the project was when its invitation was accepted.
enum Accepted {
    Here,
    Elsewhere,
    /// The daemon knows nothing of this project.
    Nowhere(Failure),
}

/// Accepts an invitation, and brings the project in where it is not here.
pub(crate) fn join(errand: &mut Errand<'_, '_>, arguments: &cli::Join) -> Result<(), Stop> {
    let places = places(errand, &arguments.address)?;
    let invitation = arguments.invitation.as_deref().map(read_invitation);
    let invitation = invitation.transpose()?;
    let mut refused = None;
    for subject in places {
        let what_for = format!("joining {} needs a signature", subject.name);
        let joining = Joining {
            desk: errand.desk(&subject, what_for)?,
            project: subject.id,
            invitation,
        };
        let brought_in = match joining.accept(errand)? {
            Accepted::Here => false,
            Accepted::Elsewhere => true,
            Accepted::Nowhere(failure) => {
                refused.get_or_insert(failure);
                continue;
            }
        };
        errand.remember();
        let joined = joined(errand, &subject.id, brought_in)?;
        if arguments.json.json {
            errand.console.json(&joined)?;
        } else {
            tell(errand, &joined)?;
        }
        renew::sign_all(errand);
        return Ok(());
    }
    let unknown = || failure::unknown_project(&arguments.address, None);
    Err(refused.unwrap_or_else(unknown).into())
}

struct Joining<'a> {
    desk: Desk<'a>,
    project: ProjectId,
    invitation: Option<EnvelopeId>,
}

impl Joining<'_> {
    fn accept(&self, errand: &mut Errand<'_, '_>) -> Result<Accepted, Failure> {
        let wish = Wish::Join {
            invitation: self.invitation.map(|id| id.to_string()),
        };
        let unknown = match errand.call(&self.desk.wish(wish)) {
            Ok(Reply::Drafts { drafts, .. }) => {
                let sealed = self.sign(errand, &drafts)?;
                self.desk.submit(errand, &sealed)?;
                return Ok(Accepted::Here);
            }
            Ok(Reply::NeedToken { drafts }) if !drafts.is_empty() => {
                let sealed = self.sign(errand, &drafts)?;
                return self.bring_in(errand, &sealed);
            }
            Ok(Reply::NeedToken { .. }) => failure::needs_invitation(&self.project),
            Ok(other) => return Err(other.unexpected()),
            Err(failure) if failure.code == exit_code::UNKNOWN => failure,
            Err(failure) => return Err(failure),
        };
        match self.invitation {
            // The project may be here without the invitation, which another envoy has.
            Some(invitation) => {
                let sealed = self.make(errand, invitation)?;
                self.bring_in(errand, &sealed)
            }
            None => Ok(Accepted::Nowhere(unknown)),
        }
    }

    fn sign(&self, errand: &Errand<'_, '_>, drafts: &[Draft]) -> Result<Vec<Verified>, Failure> {
        let may = [
            May::Join {
                invite: self.invitation,
            },
            May::grant(errand.context.uid(), show::now_ms()),
        ];
        self.desk.seal(self.desk.look_at(drafts, &may)?)
    }

    /// The same statements, made here: whoever is invited knows the only past that they need.
    fn make(
        &self,
        errand: &mut Errand<'_, '_>,
        invitation: EnvelopeId,
    ) -> Result<Vec<Verified>, Failure> {
        let here = envoy::ask(&mut errand.daemon, errand.console)?;
        let envoy: EnvoyKey = match here.key.parse() {
            Ok(key) => key,
            Err(_) => return Err(Reply::Envoy(here).unexpected()),
        };
        let author = Author {
            project: self.project,
            puddle: errand.own()?.key,
            envoy,
            incarnation: fresh_incarnation().map_err(|error| failure::no_incarnation(&error))?,
            now_ms: show::now_ms(),
        };
        let acts = [
            Act::Join { invite: invitation },
            grant(envoy, errand.context.uid(), author.now_ms),
        ];
        let said = author.say(invitation, acts);
        self.desk
            .seal(said.map_err(|reject| failure::envelope(&reject))?)
    }

    fn bring_in(
        &self,
        errand: &mut Errand<'_, '_>,
        sealed: &[Verified],
    ) -> Result<Accepted, Failure> {
        let request = Request::Bootstrap {
            project: self.project.to_string(),
            token: in_hex(sealed),
        };
        self.desk.hand_in(errand, &request)?;
        Ok(Accepted::Elsewhere)
    }
}

fn joined(
    errand: &mut Errand<'_, '_>,
    id: &ProjectId,
    brought_in: bool,
) -> Result<Joined, Failure> {
    let status = errand.project(&id.to_string())?;
    Ok(Joined {
        project_id: status.project_id,
        address: match &status.founder_name {
            Some(name) => format!("gitback://{name}/{}", status.handle),
            None => format!("gitback://{id}/{}", status.handle),
        },
        handle: status.handle,
        role: status.role,
        brought_in,
    })
}

fn tell(errand: &mut Errand<'_, '_>, joined: &Joined) -> Result<(), Stop> {
    let role = joined.role.as_deref();
    let role = role.map_or_else(String::new, |role| format!(" as {role}"));
    errand.console.line(show::plain(&format!(
        "Joined {}{role}  id {}",
        joined.handle,
        naming::short(&joined.project_id)
    )))?;
    let address = &joined.address;
    errand.console.hint(format_args!("git clone {address}"));
    Ok(())
}

/// The answer of `project rejoin --json`.
///
/// Source: docs/spec/json.md.
#[derive(Debug, Serialize)]
struct Asked {
    project_id: String,
    handle: String,
}

/// Asks to be invited again.
pub(crate) fn rejoin(errand: &mut Errand<'_, '_>, arguments: &cli::Named) -> Result<(), Stop> {
    let subject = errand.reach(&arguments.project)?;
    let what_for = format!(
        "asking to be let in to {} again needs a signature",
        subject.name
    );
    let desk = errand.desk(&subject, what_for)?;
    desk.carry_out(errand, Wish::Rejoin, &[May::Rejoin])?;
    if arguments.json.json {
        return errand.console.json(&Asked {
            project_id: subject.id.to_string(),
            handle: subject.handle,
        });
    }
    let console = &mut *errand.console;
    console.line(format_args!("Asked to be let in to {} again", subject.name))?;
    console.hint("its founder sees it in `project status`, and answers with a new invitation");
    Ok(())
}

/// The projects that may be meant, in the order in which to try them. An id is enough: what the project is called
/// comes with it.
fn places(errand: &mut Errand<'_, '_>, text: &str) -> Result<Vec<Subject>, Failure> {
    if let Ok(id) = text.parse::<ProjectId>() {
        return Ok(vec![Subject {
            id,
            handle: String::new(),
            name: id.short(),
            status: None,
        }]);
    }
    let address = read_address(text)?;
    let ids = errand.addressed(&address)?.into_iter();
    Ok(ids.map(|id| Subject::at(&address, id)).collect())
}

fn read_address(text: &str) -> Result<Address, Failure> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    // What people and daemons call a project for short: alice/notes, or an id and a handle.
    let whole = format!("gitback://{text}");
    whole
        .parse()
        .map_err(|reject| failure::address(text, &reject))
}

fn read_invitation(text: &str) -> Result<EnvelopeId, Failure> {
    text.parse().map_err(|_| failure::invitation(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_leave_out_what_all_of_them_have() {
        let id = "5".repeat(64);
        let check = |text: &str, expected: Option<&str>| {
            let read = read_address(text).ok().map(|address| address.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        let by_id = format!("gitback://{id}/notes");
        check(&by_id, Some(&by_id));
        check(&format!("{id}/notes"), Some(&by_id));
        check("alice/notes", Some("gitback://alice/notes"));
        check("notes", None);
        check("https://alice/notes", None);
    }
}
