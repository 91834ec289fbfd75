use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gitback_envelope::{Act, Grant, Incarnation, Statement};
use gitback_identity::{EnvoyKey, PublicKey, PuddleKey, SecretKey};
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
    Statement::init(&founder, &"notes".parse().expect("a handle"))
}

fn grant_by(key: &SecretKey) -> Statement {
    let init = init_by(key);
    let bytes = init.signing_bytes().expect("bytes");
    let init = init.seal(key.sign(&bytes)).expect("an envelope");
    let envoy = EnvoyKey::new(SecretKey::from_seed(&[9; 32]).public());
    Statement {
        envoy: Some(envoy),
        incarnation: Incarnation::from_bytes(&[5; 16]),
        deps: vec![*init.id()],
        time_ms: Some(NOW_MS),
        act: Act::Grant(Grant {
            envoy,
            uid: 1000,
            expires_ms: None,
        }),
        ..init_by(key)
    }
}

fn code(refused: Result<impl std::fmt::Debug, CallError>) -> String {
    match refused {
        Err(CallError::Refused { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn signs_its_own_envelopes_and_nothing_else() {
    let running = Running::start(LONG, None);
    let client = running.client();

    let own = init_by(&secret());
    let body = own.encode_body().expect("a body");
    let signature = client.sign(&own.type_name(), &body).expect("signed");
    own.seal(signature).expect("the signature holds");

    let other = init_by(&SecretKey::from_seed(&[8; 32]));
    let foreign = other.encode_body().expect("a body");
    let refused = client.sign(&other.type_name(), &foreign);
    assert_eq!(code(refused), "foreign-signer");

    let grant = grant_by(&secret());
    let body = grant.encode_body().expect("a body");
    let signature = client.sign(&grant.type_name(), &body).expect("signed");
    grant.seal(signature).expect("the signature holds");

    let unknown = "application/vnd.gitback.transfer.v1+cbor";
    assert_eq!(code(client.sign(unknown, &body)), "unknown-kind");
    assert_eq!(code(client.sign("text/plain", b"pay eve")), "bad-type");
    assert_eq!(code(client.sign(&other.type_name(), b"")), "truncated");
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
