//! A running server with a scripted service, and clients for it.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gitback_identity::{EnvoyKey, ProjectId, SecretKey};
use gitback_peer::{
    BlockRange, Caller, Client, Digests, Fresh, FreshAnswer, Limits, Names, NamesAnswer, Part,
    PeerAddress, PushAnswer, PushBody, Refusal, RefusalKind, Server, Service, SyncAnswer,
    SyncRequest, TlsFault,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const SERVER_SEED: u8 = 1;
pub(crate) const CLIENT_SEED: u8 = 2;

pub(crate) fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) fn envoy(seed: u8) -> EnvoyKey {
    EnvoyKey::new(secret(seed).public())
}

pub(crate) fn project() -> ProjectId {
    ProjectId::from_bytes(&[0xaa; 32])
}

pub(crate) fn client() -> Client {
    Client::new(&secret(CLIENT_SEED)).expect("a usable key")
}

pub(crate) fn digests(name: &str) -> Digests {
    Digests {
        name: name.to_owned(),
        projects: vec![(project(), [3; 32])],
        ..Digests::default()
    }
}

pub(crate) fn forbidden() -> Refusal {
    Refusal::new(RefusalKind::Forbidden, "not-a-member", "not a member here")
}

/// Reads a push to its end: the pack's length, the envelopes.
pub(crate) fn read_all(body: &mut PushBody) -> Result<(u64, Vec<Vec<u8>>), Refusal> {
    let mut pack_bytes = 0;
    let mut envelopes = Vec::new();
    while let Some(part) = body.next()? {
        match part {
            Part::Header(_) | Part::PackEnd(_) => {}
            Part::Pack(pack) => {
                pack_bytes = std::io::copy(pack, &mut std::io::sink()).map_err(|error| {
                    Refusal::new(RefusalKind::Internal, "pack-failed", error.to_string())
                })?;
            }
            Part::Envelope(envelope) => envelopes.push(envelope),
        }
    }
    Ok((pack_bytes, envelopes))
}

type OnDigests = dyn Fn(&Caller, Digests) -> Result<Digests, Refusal> + Send + Sync;
type OnSync = dyn Fn(&Caller, SyncRequest) -> Result<SyncAnswer, Refusal> + Send + Sync;
type OnPush = dyn Fn(&Caller, &mut PushBody) -> Result<PushAnswer, Refusal> + Send + Sync;
type OnUploadPack =
    dyn Fn(&mut (dyn Read + Send), &mut (dyn Write + Send)) -> Result<(), Refusal> + Send + Sync;

type OnListed = dyn Fn(&Caller) -> Result<Option<Digests>, Refusal> + Send + Sync;
type OnMessages = dyn Fn(&Caller, Vec<Vec<u8>>) -> Result<(), Refusal> + Send + Sync;
type OnFresh = dyn Fn(&Caller, Fresh) -> Result<FreshAnswer, Refusal> + Send + Sync;
type OnBytes = dyn Fn(&Caller, Vec<u8>) -> Result<Vec<u8>, Refusal> + Send + Sync;
type OnAsked = dyn Fn(&Caller, Vec<[u8; 32]>) -> Result<Vec<Vec<u8>>, Refusal> + Send + Sync;
type OnNames = dyn Fn(&Caller, Names) -> Result<NamesAnswer, Refusal> + Send + Sync;

type OnHeld = dyn Fn(&Caller, Vec<[u8; 32]>) -> Result<(), Refusal> + Send + Sync;

type OnPacks = dyn Fn(&Caller) -> Result<Vec<u8>, Refusal> + Send + Sync;
type OnBlocks = dyn Fn(BlockRange, &mut (dyn Write + Send)) -> Result<(), Refusal> + Send + Sync;

/// A service that does what a test says, and counts how often it was asked.
pub(crate) struct Script {
    pub(crate) calls: AtomicUsize,
    pub(crate) digests: Box<OnDigests>,
    pub(crate) sync: Box<OnSync>,
    pub(crate) push: Box<OnPush>,
    pub(crate) upload_pack: Box<OnUploadPack>,
    pub(crate) known: Vec<EnvoyKey>,
    pub(crate) listed: Box<OnListed>,
    pub(crate) gossip: Box<OnMessages>,
    pub(crate) fresh: Box<OnFresh>,
    pub(crate) reconcile: Box<OnBytes>,
    pub(crate) envelopes: Box<OnAsked>,
    pub(crate) held: Box<OnHeld>,
    pub(crate) names: Box<OnNames>,
    pub(crate) roster: Box<OnBytes>,
    pub(crate) enrol: Box<OnBytes>,
    pub(crate) packs: Box<OnPacks>,
    pub(crate) blocks: Box<OnBlocks>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            calls: AtomicUsize::new(0),
            digests: Box::new(|_, _| Ok(digests("mars"))),
            sync: Box::new(|_, _| Err(forbidden())),
            push: Box::new(|_, body| read_all(body).map(|_| PushAnswer::Durable { whole: true })),
            upload_pack: Box::new(|_, _| Err(forbidden())),
            known: Vec::new(),
            listed: Box::new(|_| Ok(None)),
            gossip: Box::new(|_, _| Err(forbidden())),
            fresh: Box::new(|_, _| Err(forbidden())),
            reconcile: Box::new(|_, _| Err(forbidden())),
            envelopes: Box::new(|_, _| Err(forbidden())),
            held: Box::new(|_, _| Err(forbidden())),
            names: Box::new(|_, _| Err(forbidden())),
            roster: Box::new(|_, _| Err(forbidden())),
            enrol: Box::new(|_, _| Err(forbidden())),
            packs: Box::new(|_| Err(forbidden())),
            blocks: Box::new(|_, _| Err(forbidden())),
        }
    }
}

impl Script {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn called(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service for Script {
    fn digests(&self, caller: &Caller, theirs: Digests) -> Result<Digests, Refusal> {
        self.called();
        (self.digests)(caller, theirs)
    }

    fn sync(
        &self,
        caller: &Caller,
        asked: &ProjectId,
        request: SyncRequest,
    ) -> Result<SyncAnswer, Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.sync)(caller, request)
    }

    fn push(
        &self,
        caller: &Caller,
        asked: &ProjectId,
        body: &mut PushBody,
    ) -> Result<PushAnswer, Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.push)(caller, body)
    }

    fn upload_pack(
        &self,
        _caller: &Caller,
        asked: &ProjectId,
        input: &mut (dyn Read + Send),
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.upload_pack)(input, output)
    }

    fn knows(&self, key: &EnvoyKey) -> bool {
        self.known.contains(key)
    }

    fn listed(&self, caller: &Caller) -> Result<Option<Digests>, Refusal> {
        (self.listed)(caller)
    }

    fn gossip(&self, caller: &Caller, messages: Vec<Vec<u8>>) -> Result<(), Refusal> {
        self.called();
        (self.gossip)(caller, messages)
    }

    fn fresh(
        &self,
        caller: &Caller,
        asked: &ProjectId,
        question: Fresh,
    ) -> Result<FreshAnswer, Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.fresh)(caller, question)
    }

    fn reconcile(
        &self,
        caller: &Caller,
        asked: &ProjectId,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.reconcile)(caller, message)
    }

    fn envelopes(
        &self,
        caller: &Caller,
        asked: &ProjectId,
        ids: Vec<[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.envelopes)(caller, ids)
    }

    fn names(&self, caller: &Caller, theirs: Names) -> Result<NamesAnswer, Refusal> {
        self.called();
        (self.names)(caller, theirs)
    }

    fn held(&self, caller: &Caller, asked: &ProjectId, ids: Vec<[u8; 32]>) -> Result<(), Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.held)(caller, ids)
    }

    fn roster(&self, caller: &Caller, theirs: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.called();
        (self.roster)(caller, theirs)
    }

    fn packs(&self, caller: &Caller, asked: &ProjectId) -> Result<Vec<u8>, Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.packs)(caller)
    }

    fn blocks(
        &self,
        _caller: &Caller,
        asked: &ProjectId,
        range: BlockRange,
        output: &mut (dyn Write + Send),
    ) -> Result<(), Refusal> {
        self.called();
        assert_eq!(*asked, project());
        (self.blocks)(range, output)
    }

    fn enrol(&self, caller: &Caller, petition: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        self.called();
        (self.enrol)(caller, petition)
    }
}

/// A running server.
pub(crate) struct Stage {
    pub(crate) script: Arc<Script>,
    pub(crate) local: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TlsFault>>,
}

impl Stage {
    pub(crate) async fn open(script: Script) -> Self {
        Self::open_at("127.0.0.1:0", script, Limits::default()).await
    }

    pub(crate) async fn open_with(script: Script, limits: Limits) -> Self {
        Self::open_at("127.0.0.1:0", script, limits).await
    }

    pub(crate) async fn open_at(address: &str, script: Script, limits: Limits) -> Self {
        let server = Server::bind(address).await.expect("a free port");
        let server = server.with_limits(limits);
        let local = server.local_addr();
        let script = Arc::new(script);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.run(&secret(SERVER_SEED), script.clone(), async {
            let _ = stopped.await;
        });
        Self {
            script,
            local,
            stop,
            running: tokio::spawn(running),
        }
    }

    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress {
            key: envoy(SERVER_SEED),
            address: self.local.to_string(),
        }
    }

    /// Tells the server to stop; the handle ends when it has.
    pub(crate) fn stop(self) -> JoinHandle<Result<(), TlsFault>> {
        self.stop.send(()).expect("the server still runs");
        self.running
    }

    /// Stops the server and waits until all is drained.
    pub(crate) async fn close(self) {
        self.stop()
            .await
            .expect("no panic")
            .expect("the server ran");
    }
}
