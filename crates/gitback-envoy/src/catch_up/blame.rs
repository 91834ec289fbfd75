//! Whose fault it is that a call or a catch-up came to nothing.

use gitback_gossip::Failure;
use gitback_peer::{CallError, RefusalKind};

use super::CatchUpError;
use crate::daemon::chain;

/// Says whose fault a failed catch-up is.
pub(crate) fn classify(error: &CatchUpError) -> Failure {
    match error {
        CatchUpError::Call { source, .. } => classify_call(source),
        CatchUpError::Sent { .. } => Failure::Lied(chain(error)),
        // No use to ask it for the same again; it may be asked for everything else.
        CatchUpError::OverLimit { .. } => Failure::Refused(chain(error)),
        CatchUpError::Ours(_) | CatchUpError::Room(_) => Failure::Ours(chain(error)),
        // It may have it later.
        CatchUpError::Short { .. } | CatchUpError::Lacks { .. } => Failure::Busy(chain(error)),
    }
}

/// Says whose fault a failed call is. Who answers at another's address has not spoken for it, and who falls silent may
/// have lost the connection; but an answer that is none, or is larger than it may be, is a lie.
pub(crate) fn classify_call(error: &CallError) -> Failure {
    let reason = error.reason();
    match error {
        CallError::Refused(refusal) => match refusal.status {
            RefusalKind::Busy | RefusalKind::Internal => Failure::Busy(reason),
            RefusalKind::Unauthorised
            | RefusalKind::Forbidden
            | RefusalKind::NotFound
            | RefusalKind::Disk
            | RefusalKind::Bad => Failure::Refused(reason),
        },
        CallError::Protocol { .. } => Failure::Lied(reason),
        CallError::Unsendable { .. } | CallError::Local { .. } | CallError::Setup { .. } => {
            Failure::Ours(reason)
        }
        // Also those that a later version adds: nothing is known of them.
        _ => Failure::Away(reason),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use gitback_peer::{Refusal, Reject};

    use super::*;

    fn refused(kind: RefusalKind) -> CallError {
        CallError::Refused(Refusal::new(kind, "code", "why"))
    }

    #[test]
    fn says_whose_fault_it_is() {
        let io = || std::io::Error::from(ErrorKind::BrokenPipe);
        let named = |error: &CallError| match classify_call(error) {
            Failure::Away(_) => "away",
            Failure::Refused(_) => "refused",
            Failure::Lied(_) => "lied",
            Failure::Busy(_) => "busy",
            Failure::Ours(_) => "ours",
        };
        let after = Duration::from_secs(1);
        assert_eq!(named(&CallError::TimedOut { after }), "away");
        assert_eq!(named(&CallError::Lost { source: io() }), "away");
        assert_eq!(named(&CallError::Local { source: io() }), "ours");
        assert_eq!(named(&refused(RefusalKind::Busy)), "busy");
        assert_eq!(named(&refused(RefusalKind::Internal)), "busy");
        assert_eq!(named(&refused(RefusalKind::Forbidden)), "refused");
        assert_eq!(named(&refused(RefusalKind::NotFound)), "refused");
        let source = Reject::TooLong {
            what: "the answer",
            limit: 7,
        };
        let long = CallError::Protocol { source };
        assert_eq!(named(&long), "lied");
        assert!(classify_call(&long).reason().contains("7 bytes"));
    }

    #[test]
    fn a_lie_is_told_with_who_and_what() {
        let sent = CatchUpError::Sent {
            peer: "venus".to_owned(),
            what: "an envelope of another project".to_owned(),
        };
        let said = "venus sent an envelope of another project".to_owned();
        assert_eq!(classify(&sent), Failure::Lied(said));
        // Who sends more than is allowed here has not lied.
        let too_much = CatchUpError::OverLimit {
            peer: "venus".to_owned(),
            what: "more than 100 objects".to_owned(),
        };
        let said = "venus sent a pack that is too much here: more than 100 objects".to_owned();
        assert_eq!(classify(&too_much), Failure::Refused(said));
        let short = CatchUpError::Short {
            peer: "venus".to_owned(),
        };
        assert!(matches!(classify(&short), Failure::Busy(_)));
        let call = CatchUpError::Call {
            peer: "venus".to_owned(),
            source: refused(RefusalKind::Busy),
        };
        assert!(matches!(classify(&call), Failure::Busy(_)));
    }
}
