//! TLS between two machines that know no key of each other.
//!
//! The same as between envoys, but that the server's key is made for the occasion, the client has none, and neither is judged
//! beyond being sound. By itself this proves nothing about who is there: whoever uses it has to bind a proof of their own to the
//! channel, by what both sides export from it (RFC 8446 §7.5).

use std::sync::Arc;

use gitback_identity::SecretKey;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::{Identity, Mismatch, ThisEnvoy, TlsFault, client, limit_client, unsent_name};

/// Makes the server's configuration: it shows the key of `secret`, speaks `protocol` and nothing else, and asks for no key.
///
/// # Errors
///
/// [`TlsFault`] if the TLS library refuses.
pub fn host_config(secret: &SecretKey, protocol: &[u8]) -> Result<Arc<ServerConfig>, TlsFault> {
    let config = Identity::new(secret)?.host_config(protocol)?;
    Ok(Arc::new(config))
}

/// Makes the client's configuration: it takes any server that proves a sound key and speaks `protocol`.
///
/// # Errors
///
/// [`TlsFault`] if the TLS library refuses.
pub fn guest_config(protocol: &[u8]) -> Result<Arc<ClientConfig>, TlsFault> {
    let verifier = ThisEnvoy {
        expected: None,
        mismatch: Arc::new(Mismatch::default()),
        provider: Arc::new(rustls::crypto::ring::default_provider()),
    };
    let mut config = client(verifier)?.with_no_client_auth();
    limit_client(&mut config, protocol);
    Ok(Arc::new(config))
}

/// The name that the TLS library wants of a client; it is never sent.
#[must_use]
pub fn host_name() -> ServerName<'static> {
    unsent_name()
}
