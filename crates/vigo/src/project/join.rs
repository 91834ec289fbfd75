//! `project join`, `project leave` and `project rejoin`: a member's own doing.

use gitback_envelope::{Act, EnvelopeId, Verified};
use gitback_helper::{Draft, Failure, Reply, Request, Wish, exit_code};
use gitback_identity::{Address, EnvoyKey, ProjectId};
use gitback_puddle::Public;
use gitback_signer::{Author, May, fresh_incarnation, grant};
use serde::Serialize;

use super::{Subject, addressed, ask_one};
use crate::console::{Console, Stop};
use crate::context::{Context, Daemon};
use crate::desk::{Desk, in_hex};
use crate::people::{People, own_or_fail};
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
pub(crate) fn join(
    context: &Context,
    arguments: &cli::Join,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let people = People::read(context, console)?;
    let own = own_or_fail(&people, context)?;
    let places = places(context, &people, &arguments.address)?;
    let invitation = arguments.invitation.as_deref().map(read_invitation);
    let invitation = invitation.transpose()?;
    let mut daemon = context.daemon()?;
    let mut refused = None;
    for subject in places {
        let what_for = format!("joining {} needs a signature", subject.name);
        let joining = Joining {
            context,
            own,
            project: subject.id,
            desk: Desk::of(context, own, subject.id, &subject.handle, what_for),
            invitation,
        };
        let brought_in = match joining.accept(&mut daemon, console)? {
            Accepted::Here => false,
            Accepted::Elsewhere => true,
            Accepted::Nowhere(failure) => {
                refused.get_or_insert(failure);
                continue;
            }
        };
        report(
            &mut daemon,
            &people,
            &subject.id,
            brought_in,
            arguments,
            console,
        )?;
        renew::run(context, console);
        return Ok(());
    }
    let unknown = || failure::unknown_project(&arguments.address, None);
    Err(refused.unwrap_or_else(unknown).into())
}

struct Joining<'a> {
    context: &'a Context,
    own: &'a Public,
    project: ProjectId,
    desk: Desk<'a>,
    invitation: Option<EnvelopeId>,
}

impl Joining<'_> {
    fn accept(
        &self,
        daemon: &mut Daemon<'_>,
        console: &mut Console<'_>,
    ) -> Result<Accepted, Failure> {
        let wish = Wish::Join {
            invitation: self.invitation.map(|id| id.to_string()),
        };
        let unknown = match daemon.call(&self.desk.wish(wish), console) {
            Ok(Reply::Drafts { drafts, .. }) => {
                let sealed = self.sign(&drafts)?;
                match self.desk.submit(daemon, &sealed, console) {
                    Ok(()) => return Ok(Accepted::Here),
                    Err(failure) if failure.code == exit_code::UNKNOWN => {
                        return self.bring_in(daemon, &sealed, console);
                    }
                    Err(failure) => return Err(failure),
                }
            }
            Ok(Reply::NeedToken { drafts }) if !drafts.is_empty() => {
                return self.bring_in(daemon, &self.sign(&drafts)?, console);
            }
            Ok(Reply::NeedToken { .. }) => failure::needs_invitation(&self.project),
            Ok(other) => return Err(other.unexpected()),
            Err(failure) if failure.code == exit_code::UNKNOWN => failure,
            Err(failure) => return Err(failure),
        };
        match self.invitation {
            Some(invitation) => {
                let sealed = self.make(daemon, invitation, console)?;
                self.bring_in(daemon, &sealed, console)
            }
            None => Ok(Accepted::Nowhere(unknown)),
        }
    }

    fn sign(&self, drafts: &[Draft]) -> Result<Vec<Verified>, Failure> {
        let may = [
            May::Join {
                invite: self.invitation,
            },
            May::grant(self.context.uid(), show::now_ms()),
        ];
        self.desk.seal(self.desk.look_at(drafts, &may)?)
    }

    /// The same statements, made here: whoever is invited knows the only past that they need.
    fn make(
        &self,
        daemon: &mut Daemon<'_>,
        invitation: EnvelopeId,
        console: &mut Console<'_>,
    ) -> Result<Vec<Verified>, Failure> {
        let here = envoy::ask(daemon, console)?;
        let envoy: EnvoyKey = match here.key.parse() {
            Ok(key) => key,
            Err(_) => return Err(Reply::Envoy(here).unexpected()),
        };
        let author = Author {
            project: self.project,
            puddle: self.own.key,
            envoy,
            incarnation: fresh_incarnation().map_err(|error| failure::no_incarnation(&error))?,
            now_ms: show::now_ms(),
        };
        let acts = [
            Act::Join { invite: invitation },
            grant(envoy, self.context.uid(), author.now_ms),
        ];
        let said = author.say(invitation, acts);
        self.desk
            .seal(said.map_err(|reject| failure::envelope(&reject))?)
    }

    fn bring_in(
        &self,
        daemon: &mut Daemon<'_>,
        sealed: &[Verified],
        console: &mut Console<'_>,
    ) -> Result<Accepted, Failure> {
        let request = Request::Bootstrap {
            project: self.project.to_string(),
            token: in_hex(sealed),
        };
        self.desk.hand_in(daemon, &request, console)?;
        Ok(Accepted::Elsewhere)
    }
}

fn report(
    daemon: &mut Daemon<'_>,
    people: &People,
    id: &ProjectId,
    brought_in: bool,
    arguments: &cli::Join,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let status = ask_one(daemon, &id.to_string(), people, console)?;
    let address = match &status.founder_name {
        Some(name) => format!("gitback://{name}/{}", status.handle),
        None => format!("gitback://{id}/{}", status.handle),
    };
    if arguments.json.json {
        return console.json(&Joined {
            project_id: id.to_string(),
            handle: status.handle,
            role: status.role,
            address,
            brought_in,
        });
    }
    let role = status
        .role
        .as_deref()
        .map_or_else(String::new, |role| format!(" as {role}"));
    console.line(format_args!(
        "Joined {}{}  id {}",
        naming::display(&status),
        show::plain(&role),
        id.short()
    ))?;
    console.hint(format_args!("git clone {address}"));
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
pub(crate) fn rejoin(
    context: &Context,
    arguments: &cli::Named,
    console: &mut Console<'_>,
) -> Result<(), Stop> {
    let people = People::read(context, console)?;
    let own = own_or_fail(&people, context)?;
    let mut daemon = context.daemon()?;
    let subject = super::reach(context, &mut daemon, &people, &arguments.project, console)?;
    let what_for = format!(
        "asking to be let in to {} again needs a signature",
        subject.name
    );
    let desk = Desk::of(context, own, subject.id, &subject.handle, what_for);
    desk.carry_out(&mut daemon, Wish::Rejoin, &[May::Rejoin], console)?;
    if arguments.json.json {
        return console.json(&Asked {
            project_id: subject.id.to_string(),
            handle: subject.handle,
        });
    }
    console.line(format_args!("Asked to be let in to {} again", subject.name))?;
    console.hint("its founder sees it in `project status`, and answers with a new invitation");
    Ok(())
}

/// The projects that may be meant, in the order in which to try them. An id is enough: what the project is called
/// comes with it.
fn places(context: &Context, people: &People, text: &str) -> Result<Vec<Subject>, Failure> {
    if let Ok(id) = text.parse::<ProjectId>() {
        return Ok(vec![Subject {
            id,
            handle: String::new(),
            name: id.short(),
            status: None,
        }]);
    }
    let address = read_address(text)?;
    let ids = addressed(context, people, &address)?.into_iter();
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
