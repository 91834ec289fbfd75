//! The calls by which envoys come to be one fleet.

use super::{CallError, Client, PeerAddress, unsendable};
use crate::limits::{PETITION_MAX, ROSTER_MAX, WELCOME_MAX};
use crate::reject::Reject;

impl Client {
    /// Hands a roster over and brings the peer's back; both are at most [`ROSTER_MAX`] bytes and not looked into here.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn roster(&self, to: &PeerAddress, ours: Vec<u8>) -> Result<Vec<u8>, CallError> {
        within(&ours, ROSTER_MAX, "the roster")?;
        let path = "/swarm/fleet/roster".to_owned();
        self.query(to, path, ours, ROSTER_MAX).await
    }

    /// Asks for an envoy to be enrolled: at most [`PETITION_MAX`] bytes there, [`WELCOME_MAX`] back.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn enrol(&self, to: &PeerAddress, petition: Vec<u8>) -> Result<Vec<u8>, CallError> {
        within(&petition, PETITION_MAX, "the petition")?;
        let path = "/swarm/fleet/enrol".to_owned();
        self.query(to, path, petition, WELCOME_MAX).await
    }
}

fn within(bytes: &[u8], limit: usize, what: &'static str) -> Result<(), CallError> {
    if bytes.len() <= limit {
        return Ok(());
    }
    Err(unsendable(Reject::TooLong {
        what,
        limit: limit as u64,
    }))
}
