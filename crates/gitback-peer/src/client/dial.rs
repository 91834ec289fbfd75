//! The seam between a call and the route its bytes take.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{CallError, PeerAddress};
use crate::tls::{ALPN, Identity, unsent_name};

/// A byte stream in both directions.
pub trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// A route to other envoys.
pub trait Dialer: Send + Sync + 'static {
    /// Opens a stream whose far end has proven `to.key`, and to which this envoy has proven its own
    /// key, ready for HTTP/2. The caller sets the deadline.
    ///
    /// Fails with [`CallError::Unreachable`] or [`CallError::WrongKey`].
    #[expect(
        clippy::type_complexity,
        reason = "a boxed future, spelled out once where it is promised"
    )]
    fn dial<'a>(
        &'a self,
        to: &'a PeerAddress,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Link>, CallError>> + Send + 'a>>;
}

/// The direct route: TCP and TLS.
pub(super) struct TlsDialer {
    identity: Identity,
}

impl TlsDialer {
    pub(super) fn new(identity: Identity) -> Self {
        Self { identity }
    }

    async fn connect(&self, to: &PeerAddress) -> Result<Box<dyn Link>, CallError> {
        let unreachable = |source| CallError::Unreachable {
            address: to.address.clone(),
            source,
        };
        let (config, mismatch) = self
            .identity
            .client_config(to.key)
            .map_err(|source| CallError::Setup { source })?;
        let tcp = TcpStream::connect(&to.address).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream =
            connector
                .connect(unsent_name(), tcp)
                .await
                .map_err(|source| match mismatch.found() {
                    Some(found) => CallError::WrongKey {
                        expected: to.key,
                        found,
                    },
                    None => unreachable(source),
                })?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(unreachable(io::ErrorKind::Unsupported.into()));
        }
        Ok(Box::new(stream))
    }
}

impl Dialer for TlsDialer {
    fn dial<'a>(
        &'a self,
        to: &'a PeerAddress,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Link>, CallError>> + Send + 'a>> {
        Box::pin(self.connect(to))
    }
}

impl fmt::Debug for TlsDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDialer").finish_non_exhaustive()
    }
}
