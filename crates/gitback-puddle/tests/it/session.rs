use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gitback_envelope::{
    Act, Change, Delegate, Grant, Incarnation, Invite, NameClaim, Oid, Policy, RefName, Revoke,
    Role, Scope, Statement, Tombstone, Ungrant, Update,
};
use gitback_identity::{EnvoyKey, Handle, PublicKey, PuddleKey, SecretKey, Signature};
use gitback_puddle::Public;
use gitback_puddle::session::{CallError, Client, ConnectError, Ended, ServeError, serve};
use tempfile::TempDir;

use crate::{NOW_MS, secret};

const LONG: Duration = Duration::from_secs(600);

fn public() -> Public {
    Public {
        name: "dan".parse().expect("a name"),
        key: PuddleKey::new(secret().public()),
        created_ms: NOW_MS,
    }
}

/// A session on a socket of its own, ended when dropped.
struct Running {
    _dir: TempDir,
    socket: PathBuf,
    ended: mpsc::Receiver<Result<Ended, ServeError>>,
}

impl Running {
    fn start(until: Duration, idle: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("run/puddle.sock");
        Self::start_in(dir, socket, until, idle)
    }

    fn start_in(dir: TempDir, socket: PathBuf, until: Duration, idle: Option<Duration>) -> Self {
        let (tell, ended) = mpsc::channel();
        let path = socket.clone();
        thread::spawn(move || tell.send(serve(&path, secret(), public(), until, idle)));
        Self {
            _dir: dir,
            socket,
            ended,
        }
    }

    /// The client, once the session answers.
    fn client(&self) -> Client {
        loop {
            match Client::connect(&self.socket) {
                Ok(client) => return client,
                Err(ConnectError::Locked { .. }) => {
                    if let Ok(ended) = self.ended.try_recv() {
                        panic!("the session ended: {ended:?}");
                    }
                    thread::yield_now();
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn ended(&self) -> Ended {
        self.ended
            .recv_timeout(Duration::from_secs(60))
            .expect("the session ends")
            .expect("and ends well")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(client) = Client::connect(&self.socket) {
            let _ = client.lock();
        }
    }
}

fn init_by(key: &SecretKey) -> Statement {
    let founder = PuddleKey::new(key.public());
    Statement::init(&founder, &handle("notes"))
}

fn puddle(seed: u8) -> PuddleKey {
    PuddleKey::new(SecretKey::from_seed(&[seed; 32]).public())
}

fn envoy() -> EnvoyKey {
    EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public())
}

/// What `key` says, after the founding.
fn said_by(key: &SecretKey, act: Act) -> Statement {
    let init = init_by(key).id().expect("an id");
    Statement {
        envoy: Some(envoy()),
        incarnation: Incarnation::from_bytes(&[5; 16]),
        deps: vec![init],
        time_ms: Some(NOW_MS),
        act,
        ..init_by(key)
    }
}

fn handle(text: &str) -> Handle {
    text.parse().expect("a handle")
}

/// A delegation from `from` to the key of the seed `to`, before the heir has signed.
fn delegation(from: &SecretKey, to: u8) -> Statement {
    said_by(
        from,
        Act::Delegate(Delegate {
            hop: 1,
            to: puddle(to),
            next: None,
            cut: Vec::new(),
            accept: Signature::from_bytes(&[0; 64]),
        }),
    )
}

/// One statement of each kind that a puddle signs, all by `key`.
fn every_kind_by(key: &SecretKey) -> Vec<Statement> {
    let invite = init_by(key).id().expect("an id");
    let acts = [
        Act::Policy(Policy {
            scope: Scope::SwarmWide,
            protected: Vec::new(),
            replicas: Some(3),
        }),
        Act::Merge,
        Act::Invite(Invite {
            puddle: puddle(8),
            role: Role::Member,
        }),
        Act::Join { invite },
        Act::Leave { invite },
        Act::Revoke(Revoke {
            invite,
            cut: vec![invite],
        }),
        Act::Rejoin { invite },
        Act::Grant(Grant {
            envoy: envoy(),
            uid: 1000,
            expires_ms: None,
        }),
        Act::Ungrant(Ungrant {
            envoy: envoy(),
            cut: Vec::new(),
        }),
        Act::Tombstone(Tombstone {
            founder: puddle(8),
            handle: handle("notes-2"),
            cut: Vec::new(),
        }),
        Act::Update(Update {
            changes: vec![Change {
                name: RefName::new(b"refs/heads/main").expect("a ref"),
                new: Oid::from_bytes(&[1; 20]),
                contained: Vec::new(),
                forced: Vec::new(),
            }],
            head: None,
            pack: None,
        }),
    ];
    let said = acts.into_iter().map(|act| said_by(key, act));
    [init_by(key)].into_iter().chain(said).collect()
}

fn sign(client: &Client, statement: &Statement) -> Result<Signature, CallError> {
    let body = statement.encode_body().expect("a body");
    client.sign(&statement.type_name(), &body)
}

fn accept(client: &Client, statement: &Statement) -> Result<Signature, CallError> {
    let body = statement.encode_body().expect("a body");
    client.accept(&statement.type_name(), &body)
}

fn claim_by(puddle: PuddleKey) -> NameClaim {
    NameClaim {
        puddle,
        counter: 3,
        time_ms: Some(NOW_MS),
        name: Some("dan".parse().expect("a name")),
    }
}

fn code(refused: Result<impl std::fmt::Debug, CallError>) -> String {
    match refused {
        Err(CallError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn signs_every_known_kind_that_names_its_own_key() {
    let running = Running::start(LONG, None);
    let client = running.client();
    for statement in every_kind_by(&secret()) {
        let signature = sign(&client, &statement).expect("signed");
        let bytes = statement.signing_bytes().expect("bytes");
        let signer = statement.signer;
        signer.verify(&bytes, &signature).expect("it holds");
    }
}

#[test]
fn signs_no_kind_for_another_key() {
    let running = Running::start(LONG, None);
    let client = running.client();
    for statement in every_kind_by(&SecretKey::from_seed(&[8; 32])) {
        let refused = sign(&client, &statement);
        assert_eq!(code(refused), "foreign-signer", "{statement:?}");
    }
    // An envoy's update for the own puddle is another's signature too.
    let update = every_kind_by(&secret()).pop().expect("an update");
    let by_envoy = Statement {
        signer: *envoy().key(),
        ..update
    };
    assert_eq!(code(sign(&client, &by_envoy)), "foreign-signer");
}

#[test]
fn signs_nothing_that_it_does_not_understand() {
    let running = Running::start(LONG, None);
    let client = running.client();
    let body = said_by(&secret(), Act::Merge)
        .encode_body()
        .expect("a body");
    let unknown = "application/vnd.gitback.transfer.v1+cbor";
    assert_eq!(code(client.sign(unknown, &body)), "unknown-kind");
    let later = "application/vnd.gitback.merge.v2+cbor";
    assert_eq!(code(client.sign(later, &body)), "unknown-kind");
    assert_eq!(code(client.accept(unknown, &body)), "no-delegation");
    for refused in [
        client.sign("text/plain", b"pay eve"),
        client.accept("text/plain", b"pay eve"),
    ] {
        assert_eq!(code(refused), "bad-type");
    }
    let merge = "application/vnd.gitback.merge.v1+cbor";
    for refused in [
        client.sign(merge, b""),
        client.accept(merge, b""),
        client.claim_name(b""),
    ] {
        assert_eq!(code(refused), "truncated");
    }
}

#[test]
fn accepts_what_is_delegated_to_its_own_key() {
    let running = Running::start(LONG, None);
    let client = running.client();
    let retiring = SecretKey::from_seed(&[8; 32]);
    let mut delegation = delegation(&retiring, 7);
    let accepted = accept(&client, &delegation).expect("signed");
    if let Act::Delegate(delegate) = &mut delegation.act {
        delegate.accept = accepted;
    }
    // The draft signs the same whatever its place for the heir's signature holds.
    assert_eq!(accept(&client, &delegation).expect("signed"), accepted);
    let bytes = delegation.signing_bytes().expect("bytes");
    let sealed = delegation.seal(retiring.sign(&bytes));
    sealed.expect("both signatures hold");
}

#[test]
fn accepts_nothing_else() {
    let running = Running::start(LONG, None);
    let client = running.client();
    let to_another = delegation(&secret(), 8);
    assert_eq!(code(accept(&client, &to_another)), "foreign-heir");
    for statement in every_kind_by(&secret()) {
        if !matches!(statement.act, Act::Delegate(_)) {
            assert_eq!(code(accept(&client, &statement)), "no-delegation");
        }
    }
    // By the other ways, neither the delegation of another nor an acceptance is signed.
    let to_own = delegation(&SecretKey::from_seed(&[8; 32]), 7);
    assert_eq!(code(sign(&client, &to_own)), "foreign-signer");
    let body = to_own.encode_body().expect("a body");
    let acceptance = "application/vnd.gitback.delegate-accept.v1+cbor";
    assert_eq!(code(client.sign(acceptance, &body)), "bad-type");
    assert_eq!(code(client.accept(acceptance, &body)), "bad-type");
}

#[test]
fn claims_names_for_its_own_key_alone() {
    let running = Running::start(LONG, None);
    let client = running.client();
    let own = claim_by(puddle(7));
    let released = NameClaim {
        name: None,
        ..own.clone()
    };
    for claim in [own.clone(), released] {
        let signature = client.claim_name(&claim.encode_body()).expect("signed");
        claim.seal(&signature).expect("the signature holds");
    }
    let foreign = claim_by(puddle(8)).encode_body();
    assert_eq!(code(client.claim_name(&foreign)), "foreign-signer");
    // Not as a statement, and no statement as a claim.
    let body = own.encode_body();
    let type_name = NameClaim::type_name();
    assert_eq!(code(client.sign(&type_name, &body)), "bad-type");
    assert_eq!(code(client.accept(&type_name, &body)), "bad-type");
    let init = init_by(&secret()).encode_body().expect("a body");
    assert_eq!(code(client.claim_name(&init)), "unknown-field");
}

#[test]
fn gives_no_project_away() {
    let running = Running::start(LONG, None);
    let client = running.client();
    for to in [7, 8] {
        let delegate = delegation(&secret(), to);
        assert_eq!(code(sign(&client, &delegate)), "delegation");
    }
}

#[test]
fn what_is_refused_keeps_no_session_alive() {
    let idle = Duration::from_millis(400);
    let running = Running::start(LONG, Some(idle));
    let client = running.client();
    let foreign = init_by(&SecretKey::from_seed(&[8; 32]));
    // Asked again and again, far more often than it would have to be; ends only when the session does.
    while !matches!(
        sign(&client, &foreign),
        Err(CallError::Connect(_) | CallError::Io(_))
    ) {}
    assert_eq!(running.ended(), Ended::Idle);
}

#[test]
fn says_who_is_unlocked_until_when() {
    let running = Running::start(LONG, None);
    let status = running.client().status().expect("a status");
    assert_eq!((status.name, status.key), (public().name, public().key));
    assert!(status.until_ms > NOW_MS);
}

#[test]
fn lock_ends_the_session_and_removes_the_socket() {
    let running = Running::start(LONG, None);
    let client = running.client();
    client.lock().expect("locked");
    assert!(!running.socket.exists());
    assert_eq!(running.ended(), Ended::Locked);
    assert!(matches!(
        client.status(),
        Err(CallError::Connect(ConnectError::Locked { .. }))
    ));
}

#[test]
fn ends_when_its_time_is_up_or_nobody_uses_it() {
    let until = Running::start(Duration::ZERO, None);
    assert_eq!(until.ended(), Ended::TimeUp);
    assert!(!until.socket.exists());
    let idle = Running::start(LONG, Some(Duration::from_millis(1)));
    assert_eq!(idle.ended(), Ended::Idle);
    assert!(!idle.socket.exists());
}

#[test]
fn keeps_socket_and_directory_private() {
    let running = Running::start(LONG, None);
    running.client();
    let mode =
        |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&running.socket), 0o600);
    assert_eq!(mode(running.socket.parent().expect("a parent")), 0o700);
}

#[test]
fn replaces_a_dead_socket_and_leaves_a_living_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("puddle.sock");
    drop(UnixListener::bind(&socket).expect("a socket that dies"));
    let running = Running::start_in(dir, socket.clone(), LONG, None);
    running.client().status().expect("a status");

    let second = serve(&socket, secret(), public(), LONG, None);
    assert!(
        matches!(second, Err(ServeError::Running { .. })),
        "{second:?}"
    );
    running.client().status().expect("the first still answers");
}

#[test]
fn leaves_a_file_that_is_no_socket() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("puddle.sock");
    fs::write(&path, b"mine").expect("a file");
    let refused = serve(&path, secret(), public(), LONG, None);
    assert!(
        matches!(refused, Err(ServeError::NotASocket { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&path).expect("the file"), b"mine");
}

#[test]
fn ends_when_another_took_its_place() {
    let running = Running::start(LONG, None);
    running.client();
    let still_ours = running.socket.with_extension("old");
    fs::hard_link(&running.socket, &still_ours).expect("a second name");
    fs::remove_file(&running.socket).expect("removed");
    let successor = UnixListener::bind(&running.socket).expect("a successor");
    // The session looks at its place whenever something wakes it.
    // It may have looked already.
    drop(UnixStream::connect(&still_ours));
    assert_eq!(running.ended(), Ended::Replaced);
    assert!(running.socket.exists(), "the successor's socket stays");
    drop(successor);
}

#[test]
fn survives_clients_that_misbehave() {
    let running = Running::start(LONG, None);
    let client = running.client();
    for bytes in [
        &b"\xff\xff\xff\xff"[..],
        b"\0\0\0\x02{}",
        b"\0\0\0\x05\xff\xff\xff\xff\xff",
        b"\0",
        b"",
    ] {
        let mut stream = UnixStream::connect(&running.socket).expect("connected");
        stream.write_all(bytes).expect("written");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("shut down");
        let mut answer = Vec::new();
        // A session that closes with bytes unread resets the connection.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    client.status().expect("still there");
}

#[test]
fn finds_no_session_where_there_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = Client::connect(&dir.path().join("puddle.sock"));
    assert!(
        matches!(missing, Err(ConnectError::Locked { .. })),
        "{missing:?}"
    );
}

#[test]
fn takes_the_largest_body() {
    let running = Running::start(LONG, None);
    let body = vec![0; 1 << 20];
    let refused = running
        .client()
        .sign("application/vnd.gitback.update.v1+cbor", &body);
    // It arrives whole and is judged: not CBOR of an update.
    assert!(
        matches!(refused, Err(CallError::Refused { .. })),
        "{refused:?}"
    );
}

#[test]
fn key_type_is_what_the_status_says() {
    let running = Running::start(LONG, None);
    let key = running.client().status().expect("a status").key;
    let text = key.to_string();
    assert_eq!(text.parse::<PublicKey>().expect("a key"), secret().public());
}
