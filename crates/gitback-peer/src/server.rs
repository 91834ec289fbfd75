//! The accept loop and the life of one connection.

mod admission;
mod rate;
mod routes;
mod seats;
mod stream;
mod watch;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gitback_identity::{EnvoyKey, SecretKey};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;
use tracing::{debug, warn};

use crate::limits::{
    ACCEPT_PAUSE, CONNECTION_WINDOW, HEADER_LIST_MAX, Limits, PING_ANSWER, PING_EVERY, SEND_BUFFER,
    STREAM_WINDOW, STREAMS_MAX,
};
use crate::service::{Caller, Service};
use crate::tls::{ALPN, Identity, TlsFault, proven_key};
use routes::App;
use seats::{Seat, Seats};
use watch::{Stalls, Watched};

/// A bound listener, not accepting yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    limits: Limits,
}

/// One connection, as its requests see it.
#[derive(Debug)]
struct Visit {
    caller: Caller,
    seat: Seat,
    stalls: Stalls,
}

impl Server {
    /// Binds `address` (`host:port`; port 0: any free one).
    ///
    /// # Errors
    ///
    /// What the system says about the name or the address.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            local: listener.local_addr()?,
            listener,
            limits: Limits::default(),
        })
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until `shutdown` completes; then accepts nothing more, lets what is in progress
    /// finish for [`Limits::drain`], and ends the rest. No connection and, unless a method of
    /// `service` ignores its failing reads and writes, no job is left when this returns.
    ///
    /// # Errors
    ///
    /// [`TlsFault`] at once, when `identity` cannot be used.
    pub fn run<F>(
        self,
        identity: &SecretKey,
        service: Arc<dyn Service>,
        shutdown: F,
    ) -> impl Future<Output = Result<(), TlsFault>> + Send + use<F>
    where
        F: Future<Output = ()> + Send,
    {
        let config = Identity::new(identity).and_then(|identity| identity.server_config());
        async move {
            let acceptor = TlsAcceptor::from(Arc::new(config?));
            let app = App::new(service, self.limits);
            let door = Door {
                acceptor,
                router: routes::router(app.clone()),
                seats: Seats::new(app.limits().connections),
                app,
            };
            accept(self.listener, &door, shutdown).await;
            Ok(())
        }
    }
}

/// What every connection shares.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    router: Router,
    app: Arc<App>,
    seats: Seats,
}

async fn accept(listener: TcpListener, door: &Door, shutdown: impl Future<Output = ()> + Send) {
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    let (stop, stopping) = signal::channel(());
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((tcp, address)) => match door.seats.take() {
                    Some(seat) => {
                        let door = door.clone();
                        connections.spawn(door.connection(tcp, address, seat, stopping.clone()));
                    }
                    None => debug!(%address, "connection refused: no seat left"),
                },
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    // Newcomers are turned away by the system while those inside finish.
    drop(listener);
    drop(stop);
    let drained = timeout(door.app.limits().drain, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        debug!(left = connections.len(), "ending connections");
        connections.shutdown().await;
    }
    door.app.jobs_done().await;
}

impl Door {
    async fn connection(
        self,
        tcp: TcpStream,
        address: SocketAddr,
        seat: Seat,
        stopping: signal::Receiver<()>,
    ) {
        let evicted = seat.evicted();
        tokio::select! {
            () = evicted => debug!(%address, "connection ended to make room"),
            () = self.handshake_and_serve(tcp, address, seat, stopping) => {}
        }
    }

    async fn handshake_and_serve(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        seat: Seat,
        mut stopping: signal::Receiver<()>,
    ) {
        let handshake = timeout(self.app.limits().handshake, self.handshake(tcp));
        let outcome = tokio::select! {
            // An error says that the sender is gone: the server stops.
            _ = stopping.changed() => return,
            outcome = handshake => outcome,
        };
        match outcome {
            Ok(Ok((stream, key))) => {
                if self.app.knows(&key) {
                    seat.welcome();
                }
                let caller = Caller { key, address };
                self.serve(stream, caller, seat, stopping).await;
            }
            Ok(Err(error)) => debug!(%address, %error, "handshake failed"),
            Err(_) => debug!(%address, "handshake took too long"),
        }
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
    ) -> io::Result<(impl AsyncRead + AsyncWrite + Unpin + use<>, EnvoyKey)> {
        tcp.set_nodelay(true)?;
        let stream = self.acceptor.accept(tcp).await?;
        let (_, session) = stream.get_ref();
        let key = proven_key(session.peer_certificates());
        match (key, session.alpn_protocol()) {
            (Some(key), Some(ALPN)) => Ok((stream, key)),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Serves HTTP/2 on any stream whose far end is known to be `caller`.
    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        caller: Caller,
        seat: Seat,
        mut stopping: signal::Receiver<()>,
    ) {
        let limits = self.app.limits();
        let visit = Arc::new(Visit {
            caller,
            seat,
            stalls: Stalls::default(),
        });
        let service = service_fn(|request| {
            respond(
                self.app.clone(),
                self.router.clone(),
                visit.clone(),
                request,
            )
        });
        let mut connection = pin!(http2().serve_connection(TokioIo::new(stream), service));
        let began = Instant::now();
        let mut tick = interval(limits.idle.min(limits.handshake) / 4);
        let mut closing = false;
        loop {
            tokio::select! {
                outcome = &mut connection => {
                    if let Err(error) = outcome {
                        debug!(address = %caller.address, %error, "connection failed");
                    }
                    return;
                }
                _ = stopping.changed(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => {
                    let silent = !visit.seat.has_asked() && began.elapsed() > limits.handshake;
                    if silent || visit.stalls.longer_than(limits.idle) {
                        debug!(address = %caller.address, silent, "connection stalled");
                        return;
                    }
                }
            }
        }
    }
}

fn http2() -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER);
    builder
}

async fn respond(
    app: Arc<App>,
    mut router: Router,
    visit: Arc<Visit>,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    visit.seat.asked();
    let admission = app.admission();
    let ticket = match admission.enter(
        visit.caller.key,
        visit.seat.standing(),
        std::time::Instant::now(),
    ) {
        Ok(ticket) => ticket,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    request.extensions_mut().insert(visit.clone());
    let response = router.call(request).await?;
    // The request counts until the last byte of its answer is taken.
    Ok(response.map(|body| Body::new(Watched::new(body, ticket, &visit.stalls))))
}
