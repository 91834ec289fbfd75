//! Sealing the authority's key by the way: to whoever founds the fleet or brings machines in, and after a rotation.
//!
//! What fails here undoes nothing, and is a remark.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use gitback_helper::{AuthorityStatus, Reply, Request};
use gitback_identity::PuddleKey;
use gitback_puddle::{Public, read_public, read_retired, refuse_links};

use crate::console::Console;
use crate::context::{Context, Daemon};
use crate::show;

/// The daemon's answer, the conversation, and the user's puddle.
struct Seen<'a> {
    daemon: Daemon<'a>,
    status: AuthorityStatus,
    own: Public,
    /// The keys that the puddle had before.
    retired: Vec<PuddleKey>,
}

impl<'a> Seen<'a> {
    fn look(context: &'a Context) -> Option<Self> {
        let own = context.puddle_if_any().ok().flatten()?;
        let retired = read_retired(&context.layout.puddle_dir).unwrap_or_default();
        let mut daemon = context.hasty_daemon().ok()?;
        let Ok(Reply::Authority(status)) = daemon.quiet_call(&Request::Authority) else {
            return None;
        };
        Some(Self {
            daemon,
            status,
            own,
            retired: retired.into_iter().map(|public| public.key).collect(),
        })
    }

    fn is_sealed_to(&self, key: &PuddleKey) -> bool {
        let key = key.to_string();
        self.status.seals.iter().any(|one| one.puddle == key)
    }

    /// The user's earlier keys to which it is sealed.
    fn earlier(&self) -> Vec<PuddleKey> {
        let earlier = self.retired.iter();
        earlier
            .filter(|key| self.is_sealed_to(key))
            .copied()
            .collect()
    }

    /// Seals to the user's own key if it is not.
    fn seal(&mut self, console: &mut Console<'_>) -> bool {
        if self.is_sealed_to(&self.own.key) {
            return true;
        }
        let request = Request::SealAuthority {
            puddle: self.own.key.to_string(),
            by_the_way: true,
        };
        match self.daemon.quiet_call(&request) {
            // Nothing is said where it was ended by hand, and stays so.
            Ok(Reply::Accepted { notes, .. }) if notes.is_empty() => false,
            Ok(Reply::Accepted { .. }) => {
                console.progress(format_args!(
                    "if this machine is lost, {} can take the fleet over on any other: vigo envoy authority",
                    self.own.name
                ));
                true
            }
            Ok(other) => not_sealed(&other.unexpected().what, console),
            Err(failure) => not_sealed(&failure.what, console),
        }
    }
}

fn not_sealed(what: &str, console: &mut Console<'_>) -> bool {
    console.warning(format_args!(
        "the key of the fleet's authority was not sealed to you: {}",
        show::plain(what)
    ));
    console.hint("do it by hand: vigo envoy authority seal");
    false
}

/// Whether the puddle that the user is taken to have is the user's own beyond doubt. Root may have been given somebody
/// else's home, with anything in it.
pub(super) fn is_own_home(context: &Context, key: &PuddleKey) -> bool {
    let dir = &context.layout.puddle_dir;
    let (Some(home), Some(name)) = (dir.parent(), dir.file_name()) else {
        return false;
    };
    // From here on no link is followed, whatever the home's own name leads to meanwhile.
    home.canonicalize()
        .is_ok_and(|home| is_own(&home, &home.join(name), context.uid(), key))
}

fn is_own(home: &Path, dir: &Path, own: u32, key: &PuddleKey) -> bool {
    // Where all may write, folders can be put in the place of others.
    let is_closed = |path: &Path, open: u32| {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| found.is_dir() && found.uid() == own && found.mode() & open == 0)
    };
    is_closed(home, 0o002)
        && is_closed(dir, 0o022)
        && is_of(dir, own)
        && refuse_links(dir).is_ok()
        && read_public(dir).is_ok_and(|public| public.key == *key)
}

/// Whether all that says whose puddle this is belongs to the user `own`.
fn is_of(dir: &Path, own: u32) -> bool {
    ["identity.wrapped", "identity.pub"].iter().all(|name| {
        match dir.join(name).symlink_metadata() {
            Ok(found) => found.is_file() && found.uid() == own,
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    })
}

/// After a ticket was made: seals to whoever founds the fleet, where it is sealed to nobody.
pub(crate) fn seal_to_founder(context: &Context, console: &mut Console<'_>) {
    let Some(mut seen) = Seen::look(context) else {
        return;
    };
    let status = &seen.status;
    if status.is_authority
        && status.may_administer
        && status.seals.is_empty()
        && is_own_home(context, &seen.own.key)
    {
        seen.seal(console);
    }
}

/// After a machine was paired: seals to whoever brings it in, where that one administers this envoy.
pub(crate) fn seal_to_host(context: &Context, console: &mut Console<'_>) {
    let Some(mut seen) = Seen::look(context) else {
        return;
    };
    if !seen.status.is_authority {
        return;
    }
    if seen.status.may_administer && is_own_home(context, &seen.own.key) {
        seen.seal(console);
    } else if seen.status.seals.is_empty() {
        console.hint(format_args!(
            "if this machine is lost, nobody can enrol or remove any more; to let {} do it on another one: sudo vigo envoy \
             authority seal {}",
            seen.own.name, seen.own.key
        ));
    }
}

/// After a rotation, and when a puddle is unlocked that was rotated elsewhere: what was sealed to an earlier key of the
/// user is sealed to the present one instead.
pub(crate) fn follow_rotation(context: &Context, console: &mut Console<'_>) {
    // Most puddles have one key, and no daemon need be asked.
    if read_retired(&context.layout.puddle_dir).map_or(true, |retired| retired.is_empty()) {
        return;
    }
    let Some(mut seen) = Seen::look(context) else {
        return;
    };
    let earlier = seen.earlier();
    if earlier.is_empty() {
        return;
    }
    let may_seal = seen.status.is_authority && seen.status.may_administer;
    if !may_seal || !is_own_home(context, &seen.own.key) {
        let at = seen.status.holders.first();
        let at = at.map_or_else(String::new, |one| {
            format!("on {}: ", show::plain(&one.name))
        });
        console.warning("the key of the fleet's authority is sealed to your earlier key");
        console.hint(format_args!(
            "{at}vigo envoy authority seal {}",
            seen.own.key
        ));
    } else if seen.seal(console) {
        for key in earlier {
            let request = Request::UnsealAuthority {
                puddle: key.to_string(),
            };
            if let Err(failure) = seen.daemon.quiet_call(&request) {
                let what = show::plain(&failure.what);
                console.warning(format_args!(
                    "it is still sealed to your earlier key: {what}"
                ));
            }
        }
    }
    console.warning(
        "who has your earlier key, its passphrase and a copy of the roster can open what was sealed to it: if that may be, \
         found the fleet anew",
    );
    console.hint("how: docs/configuration.md, The fleet");
}

/// Before a puddle leaves this machine: what stays on it, and what nobody could do any more.
pub(crate) fn warn_of_leave(context: &Context, is_last: bool, console: &mut Console<'_>) {
    let Some(seen) = Seen::look(context) else {
        return;
    };
    if seen.status.is_authority {
        console
            .warning("this machine's envoy holds the key of the fleet's authority, and keeps it");
        console.hint(
            "before you give the machine away, on another one: vigo envoy authority take-over",
        );
        console.hint("then, there: vigo envoy remove, and the name of this one");
    }
    let own = std::iter::once(&seen.own.key).chain(&seen.retired);
    let own: Vec<String> = own.map(ToString::to_string).collect();
    let sealed = &seen.status.seals;
    let is_all_own = sealed.iter().all(|one| own.contains(&one.puddle));
    if is_last && is_all_own && !sealed.is_empty() {
        console.warning(
            "the authority's key is sealed to your keys alone: without recovery words, nobody can take the fleet over",
        );
    }
}

#[cfg(test)]
mod tests;
