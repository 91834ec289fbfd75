//! One connection for each peer, made when needed and made again when it broke.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;
use tracing::debug;

use super::dial::Dialer;
use super::outgoing::Outgoing;
use super::{CallError, PeerAddress};
use crate::limits::{
    CONNECTION_WINDOW, HEADER_LIST_MAX, PING_ANSWER, PING_EVERY, POOL_MAX, SEND_BUFFER,
    STREAM_WINDOW,
};

pub(super) struct Pool {
    dialer: Arc<dyn Dialer>,
    connect: Duration,
    slots: Mutex<HashMap<PeerAddress, Arc<Slot>>>,
}

/// Held while dialling, so that concurrent calls share one new connection.
#[derive(Default)]
struct Slot(tokio::sync::Mutex<Held>);

#[derive(Default)]
struct Held {
    /// Counts the connections made.
    generation: u64,
    sender: Option<SendRequest<Outgoing>>,
    /// When nothing was heard for how long at the last attempt to connect.
    silent: Option<(Instant, Duration)>,
}

/// A connection to send one request on.
pub(super) struct Lent {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) generation: u64,
    /// Whether earlier calls used it, so that it may have died unnoticed.
    pub(super) used: bool,
}

impl Pool {
    pub(super) fn new(dialer: Arc<dyn Dialer>, connect: Duration) -> Self {
        Self {
            dialer,
            connect,
            slots: Mutex::default(),
        }
    }

    /// Lends the connection to `to`, making one when there is none. Who waited while another call heard nothing there
    /// does not wait for the same once more.
    pub(super) async fn lend(&self, to: &PeerAddress) -> Result<Lent, CallError> {
        let (slot, begun) = (self.slot(to), Instant::now());
        let mut held = slot.0.lock().await;
        match &held.sender {
            Some(sender) if !sender.is_closed() => Ok(Lent {
                sender: sender.clone(),
                generation: held.generation,
                used: true,
            }),
            _ => {
                held.sender = None;
                if let Some((_, after)) = held.silent.filter(|(at, _)| *at >= begun) {
                    return Err(CallError::TimedOut { after });
                }
                let sender = self.connect(to).await;
                if let Err(CallError::TimedOut { after }) = &sender {
                    held.silent = Some((Instant::now(), *after));
                }
                let sender = sender?;
                held.generation += 1;
                held.sender = Some(sender.clone());
                Ok(Lent {
                    sender,
                    generation: held.generation,
                    used: false,
                })
            }
        }
    }

    /// Forgets the connection of that generation: it is broken or its peer does not answer.
    pub(super) async fn retire(&self, to: &PeerAddress, generation: u64) {
        let slot = self.slot(to);
        let mut held = slot.0.lock().await;
        if held.generation == generation {
            held.sender = None;
        }
    }

    async fn connect(&self, to: &PeerAddress) -> Result<SendRequest<Outgoing>, CallError> {
        let opened = async {
            let link = self.dialer.dial(to).await?;
            http2()
                .handshake(TokioIo::new(link))
                .await
                .map_err(|error| CallError::Unreachable {
                    address: to.address.clone(),
                    source: std::io::Error::other(error),
                })
        };
        let late = |_| CallError::TimedOut {
            after: self.connect,
        };
        let (sender, connection) = timeout(self.connect, opened).await.map_err(late)??;
        let address = to.address.clone();
        // Ends when the last sender is dropped or the connection breaks.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%address, %error, "connection ended");
            }
        });
        Ok(sender)
    }

    fn slot(&self, to: &PeerAddress) -> Arc<Slot> {
        // Nothing panics while the lock is held.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(to) && slots.len() >= POOL_MAX {
            make_room(&mut slots);
        }
        slots.entry(to.clone()).or_default().clone()
    }
}

/// Drops the slots that hold no live connection and nobody dials, or else any one.
fn make_room(slots: &mut HashMap<PeerAddress, Arc<Slot>>) {
    slots.retain(|_, slot| match slot.0.try_lock() {
        Ok(held) => held
            .sender
            .as_ref()
            .is_some_and(|sender| !sender.is_closed()),
        Err(_) => true,
    });
    if slots.len() >= POOL_MAX
        && let Some(any) = slots.keys().next().cloned()
    {
        slots.remove(&any);
    }
}

fn http2() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER)
        .keep_alive_while_idle(true);
    builder
}
