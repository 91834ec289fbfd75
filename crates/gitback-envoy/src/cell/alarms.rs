//! What people should look at, in words.

use gitback_envelope::{Alarm, Contest, Equivocation, Successor};

use super::{Cell, State};

impl Cell {
    /// Tells the daemon's log of alarms that it has not heard of.
    pub(crate) fn tell_alarms(&self, state: &mut State) {
        for alarm in state.fold.alarms() {
            let text = describe(&alarm);
            if state.told.contains(&text) {
                continue;
            }
            match alarm {
                Alarm::Contest(Contest {
                    followed: Some(_), ..
                }) => {
                    tracing::warn!(project = %self.id, code = alarm.code(), "ALARM: {text}");
                }
                _ => tracing::error!(project = %self.id, code = alarm.code(), "ALARM: {text}"),
            }
            state.told.insert(text);
        }
    }
}

/// One line for people.
pub(crate) fn describe(alarm: &Alarm) -> String {
    match alarm {
        Alarm::Equivocation(Equivocation {
            puddle, seq, ids, ..
        }) => format!(
            "two statements number {seq} for {} by one key ({}): the key was copied, or a disk was put back",
            puddle.fingerprint(),
            shortened(ids)
        ),
        Alarm::Contest(Contest {
            hop,
            delegates,
            followed: None,
        }) => format!(
            "the founder line is contested at hop {hop} ({}): nobody can invite or revoke until \
             `vigo swarm gitback project pick-line` settles it",
            shortened(delegates)
        ),
        Alarm::Contest(Contest {
            hop,
            delegates,
            followed: Some(followed),
        }) => format!(
            "hop {hop} of the founder line was delegated more than once ({}); {followed} is followed here",
            shortened(delegates)
        ),
        Alarm::Lie(id) => {
            format!("update {id} says that it contains a commit which it does not; it is held out")
        }
        Alarm::Successors(successors) => format!(
            "several projects are said to take this one's place ({}); none is followed",
            successors
                .iter()
                .map(address)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        _ => format!(
            "an alarm of a kind that this version does not know: {}",
            alarm.code()
        ),
    }
}

/// Where a successor is found.
pub(crate) fn address(successor: &Successor) -> String {
    let id = gitback_identity::ProjectId::derive(&successor.founder, &successor.handle);
    format!("gitback://{id}/{}", successor.handle)
}

fn shortened(ids: &[gitback_envelope::EnvelopeId]) -> String {
    let short = |id: &gitback_envelope::EnvelopeId| id.to_string().chars().take(12).collect();
    ids.iter().map(short).collect::<Vec<String>>().join(", ")
}
