//! Cables between envoys, to be cut and mended.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// One way from one envoy to another: a port of its own that leads to the other's while it is whole.
///
/// Cutting it ends what goes through it and refuses what comes, as when a machine on the way was switched off.
#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    cut: AtomicBool,
    gone: AtomicBool,
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
}

impl Link {
    /// A whole link to the envoy that listens, or will listen, on port `target`.
    pub(crate) fn new(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for a link")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target,
            cut: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || accepting.accept(&listener))?;
        Ok(Self { port, shared })
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.end_all();
    }

    pub(crate) fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
        self.shared.end_all();
        // Wakes the thread that accepts, which sees that nobody needs it any more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.gone.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(stream) = stream {
                // One that cannot be passed on is closed, as by a machine that is off.
                let _ = self.pass_on(stream);
            }
        }
    }

    fn pass_on(self: &Arc<Self>, near: TcpStream) -> Result<()> {
        if self.cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        let far = TcpStream::connect(("127.0.0.1", self.target))?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let ends = [near.try_clone()?, far.try_clone()?];
        self.open().insert(number, ends);
        if self.cut.load(Ordering::SeqCst) {
            self.end_all();
        }
        let back = (far.try_clone()?, near.try_clone()?);
        self.pump(number, near, far)?;
        self.pump(number, back.0, back.1)
    }

    fn pump(self: &Arc<Self>, number: u64, from: TcpStream, to: TcpStream) -> Result<()> {
        let shared = Arc::clone(self);
        std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || {
                copy(from, &to);
                // Half a connection is none: the end of either way ends both.
                shared.end(number);
            })?;
        Ok(())
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, [TcpStream; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, number: u64) {
        if let Some(ends) = self.open().remove(&number) {
            ends.iter()
                .for_each(|end| drop(end.shutdown(Shutdown::Both)));
        }
    }

    fn end_all(&self) {
        for ends in std::mem::take(&mut *self.open()).into_values() {
            ends.iter()
                .for_each(|end| drop(end.shutdown(Shutdown::Both)));
        }
    }
}

fn copy(mut from: TcpStream, mut to: &TcpStream) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if bytes
            .get(..count)
            .is_none_or(|read| to.write_all(read).is_err())
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_link_ends_what_goes_through_it_until_it_is_mended() {
        let far = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = far.local_addr().expect("an address").port();
        let link = Link::new(port).expect("a link");
        let connect = || TcpStream::connect(link.address()).expect("the link listens");
        let mut near = connect();
        let (mut end, _) = far.accept().expect("passed on");
        near.write_all(b"hello").expect("written");
        let mut heard = [0; 5];
        end.read_exact(&mut heard).expect("passed on");
        assert_eq!(&heard, b"hello");

        link.cut();
        assert_eq!(near.read(&mut heard).unwrap_or(0), 0, "it has ended");
        assert_eq!(connect().read(&mut heard).unwrap_or(0), 0, "refused");

        link.mend();
        let mut near = connect();
        let (mut end, _) = far.accept().expect("passed on");
        end.write_all(b"again").expect("written");
        near.read_exact(&mut heard).expect("passed back");
        assert_eq!(&heard, b"again");
    }
}
