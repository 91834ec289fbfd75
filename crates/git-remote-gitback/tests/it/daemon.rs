//! A daemon whose answers a test writes down, in front of a real git.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gitback_helper::{Connection, Limits, Listener, Reply, Request, Service, Stopper};

/// What the daemon says to a request: some words, the last of which is the answer.
pub(crate) type Script = dyn Fn(&Request) -> Vec<Reply> + Send + Sync;

/// A running daemon. It ends when dropped.
pub(crate) struct Daemon {
    seen: Arc<Mutex<Vec<Request>>>,
    stopper: Stopper,
    accepting: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Listens on `socket`; after `Ready`, git serves the bare repository.
    pub(crate) fn start(socket: &Path, repository: PathBuf, script: Box<Script>) -> Self {
        let listener =
            Listener::bind_with(socket, 0o600, Limits::default()).expect("the socket is free");
        let stopper = listener.stopper();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new((Arc::clone(&seen), repository, script));
        let accepting = std::thread::spawn(move || {
            while let Ok(connection) = listener.accept() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || converse(connection, &shared.0, &shared.1, &*shared.2));
            }
        });
        Self {
            seen,
            stopper,
            accepting: Some(accepting),
        }
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn converse(
    mut connection: Connection,
    seen: &Mutex<Vec<Request>>,
    repository: &Path,
    script: &Script,
) {
    while let Ok(request) = connection.read_request() {
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        let replies = script(&request);
        for reply in &replies {
            if connection.reply(reply).is_err() {
                return;
            }
        }
        match (replies.last(), request) {
            (
                Some(Reply::Ready),
                Request::Open {
                    service, protocol, ..
                },
            ) => {
                let (stream, _slot) = connection.into_stream().expect("a stream");
                return serve(service, protocol, repository, stream);
            }
            (None, _) => return,
            _ => {}
        }
    }
}

/// git itself at the other end of the stream.
fn serve(service: Service, protocol: Option<String>, repository: &Path, stream: UnixStream) {
    let verb = match service {
        Service::UploadPack => "upload-pack",
        Service::ReceivePack => "receive-pack",
    };
    stream.set_read_timeout(None).expect("a socket");
    stream.set_write_timeout(None).expect("a socket");
    let output = stream.try_clone().expect("a descriptor");
    let mut git = Command::new("git");
    git.arg(verb)
        .arg(repository)
        .env_remove("GIT_PROTOCOL")
        .stdin(Stdio::from(OwnedFd::from(stream)))
        .stdout(Stdio::from(OwnedFd::from(output)))
        .stderr(Stdio::null());
    if let Some(protocol) = protocol {
        git.env("GIT_PROTOCOL", protocol);
    }
    git.status().expect("git is installed");
}
