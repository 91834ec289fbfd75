//! Paths of sockets, which the kernel keeps short.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::SocketAddrUnix;
use thiserror::Error;

/// The longest path of a unix socket, in bytes.
///
/// Source: unix(7), `sun_path` is 108 bytes with the final NUL.
pub const SOCKET_PATH_MAX: usize = 107;

/// A path that cannot be a socket's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddressFault {
    /// The path does not fit.
    #[error(
        "the socket path {} is {length} bytes long and only {SOCKET_PATH_MAX} fit: \
         choose a shorter directory with --root",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The path holds a NUL byte or is otherwise no address.
    #[error("{} cannot be the path of a socket", path.display())]
    Malformed {
        /// The path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Turns a path into an address.
pub(crate) fn socket_address(path: &Path) -> Result<SocketAddrUnix, AddressFault> {
    let length = path.as_os_str().as_bytes().len();
    if length > SOCKET_PATH_MAX {
        return Err(AddressFault::TooLong {
            path: path.to_owned(),
            length,
        });
    }
    SocketAddrUnix::new(path).map_err(|source| AddressFault::Malformed {
        path: path.to_owned(),
        source: source.into(),
    })
}
