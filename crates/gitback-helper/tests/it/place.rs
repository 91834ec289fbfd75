//! A listener in a directory of its own, and threads that serve it.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use gitback_helper::{Client, Connection, Limits, Listener, Meanwhile, Reply, Request};
use tempfile::TempDir;

/// Long enough for a slow machine, short enough to fail a test that hangs.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A directory with room for a socket.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("gitback.sock")
    }

    pub(crate) fn listen(&self, limits: Limits) -> Listener {
        Listener::bind_with(&self.socket(), 0o666, limits).expect("the socket is free")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket()).expect("the listener is there")
    }
}

/// Serves one connection in a thread; what the thread returns is received.
pub(crate) fn serve_one<T: Send + 'static>(
    listener: Listener,
    serve: impl FnOnce(Connection) -> T + Send + 'static,
) -> Receiver<T> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let connection = listener.accept().expect("a client comes");
        let _ = sender.send(serve(connection));
    });
    receiver
}

/// Asks without caring for what happens meanwhile.
pub(crate) fn ask(client: &mut Client, request: &Request) -> Reply {
    client
        .call(request, &mut |_: Meanwhile<'_>| ())
        .expect("the server answers")
}
