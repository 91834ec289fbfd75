//! The small calls by which a fleet stays in step.

use gitback_identity::ProjectId;

use super::{CallError, Client, PeerAddress, protocol, unsendable};
use crate::limits::{
    ASKED_IDS_MAX, FRESH_MAX, HELD_IDS_MAX, NAMES_MAX, RECONCILE_MAX, REFUSAL_MAX, SYNC_ANSWER_MAX,
};
use crate::reject::Reject;
use crate::wire::{
    Fresh, FreshAnswer, Names, NamesAnswer, decode_page, encode_ids, encode_messages,
};

impl Client {
    /// Hands gossip messages over, in their order: at most
    /// [`GOSSIP_MESSAGES_MAX`](crate::limits::GOSSIP_MESSAGES_MAX) of at most
    /// [`GOSSIP_MESSAGE_MAX`](crate::limits::GOSSIP_MESSAGE_MAX) bytes.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn gossip(&self, to: &PeerAddress, messages: Vec<Vec<u8>>) -> Result<(), CallError> {
        let body = encode_messages(&messages).map_err(unsendable)?;
        let path = "/swarm/gossip".to_owned();
        self.query(to, path, body, REFUSAL_MAX).await.map(drop)
    }

    /// Asks whether a push that is about to commit would come too late.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn fresh(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        question: &Fresh,
    ) -> Result<FreshAnswer, CallError> {
        let body = question.encode().map_err(unsendable)?;
        let path = format!("/swarm/gitback/fresh/{project}");
        let answer = self.query(to, path, body, FRESH_MAX).await?;
        FreshAnswer::decode(&answer).map_err(protocol)
    }

    /// Says which claims to names are known here, brings some, and asks for those that are not.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn names(&self, to: &PeerAddress, ours: &Names) -> Result<NamesAnswer, CallError> {
        let body = ours.encode().map_err(unsendable)?;
        let path = "/swarm/puddle/names".to_owned();
        let answer = self.query(to, path, body, NAMES_MAX).await?;
        NamesAnswer::decode(&answer).map_err(protocol)
    }

    /// Carries one message of a reconciliation there and brings the next one back; both are at most
    /// [`RECONCILE_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn reconcile(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, CallError> {
        if message.len() > RECONCILE_MAX {
            return Err(unsendable(Reject::TooLong {
                what: "the message",
                limit: RECONCILE_MAX as u64,
            }));
        }
        let path = format!("/swarm/gitback/reconcile/{project}");
        self.query(to, path, message, RECONCILE_MAX).await
    }

    /// Asks for envelopes by their ids, at most [`ASKED_IDS_MAX`]. What the peer lacks is left out,
    /// and what does not fit in one page as well.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn envelopes(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        ids: &[[u8; 32]],
    ) -> Result<Vec<Vec<u8>>, CallError> {
        let body = encode_ids(ids, ASKED_IDS_MAX).map_err(unsendable)?;
        let path = format!("/swarm/gitback/envelopes/{project}");
        let answer = self.query(to, path, body, SYNC_ANSWER_MAX).await?;
        let page = decode_page(&answer).map_err(protocol)?;
        if page.len() > ids.len() {
            return Err(protocol(Reject::TooMany {
                what: "envelopes",
                limit: ids.len() as u64,
            }));
        }
        Ok(page)
    }

    /// Gives a receipt: these envelopes, and all that they need, are durable here. At most
    /// [`HELD_IDS_MAX`] ids.
    ///
    /// # Errors
    ///
    /// A [`CallError`] that says what went wrong.
    pub async fn held(
        &self,
        to: &PeerAddress,
        project: &ProjectId,
        ids: &[[u8; 32]],
    ) -> Result<(), CallError> {
        let body = encode_ids(ids, HELD_IDS_MAX).map_err(unsendable)?;
        let path = format!("/swarm/gitback/held/{project}");
        self.query(to, path, body, REFUSAL_MAX).await.map(drop)
    }
}
