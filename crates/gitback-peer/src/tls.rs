//! TLS 1.3 with raw Ed25519 public keys on both sides.
//!
//! The envoy key is the identity: there are no certificates, names or authorities. The client pins
//! the key it expects; the server takes any sound key and hands it on, to be judged for each request.
//!
//! Source: docs/spec/peer.md §2; RFC 7250 (raw public keys), RFC 8410 (their encoding).

pub mod strangers;

use std::sync::{Arc, OnceLock};

use gitback_identity::{EnvoyKey, SecretKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoClientAuth, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use zeroize::Zeroizing;

/// The one application protocol spoken.
pub(crate) const ALPN: &[u8] = b"h2";

/// `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING (33 bytes, 0 unused bits) … }`.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const SPKI_LEN: usize = 44;
/// `SEQUENCE { INTEGER 0, SEQUENCE { OID 1.3.101.112 }, OCTET STRING { OCTET STRING (32 bytes) … } }`.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PKCS8_LEN: usize = 48;

/// Our own TLS set-up cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("cannot set up tls for this envoy's key")]
pub struct TlsFault {
    #[source]
    source: rustls::Error,
}

/// This envoy's side of every handshake.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    key: Arc<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    pub(crate) fn new(secret: &SecretKey) -> Result<Self, TlsFault> {
        let mut der = Zeroizing::new([0; PKCS8_LEN]);
        let (prefix, seed) = der.split_at_mut(PKCS8_PREFIX.len());
        prefix.copy_from_slice(&PKCS8_PREFIX);
        seed.copy_from_slice(secret.seed());
        let signer =
            rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.as_slice()))
                .map_err(|source| TlsFault { source })?;
        let spki = spki(secret.public().as_bytes());
        Ok(Self {
            key: Arc::new(CertifiedKey::new(
                vec![CertificateDer::from(spki.to_vec())],
                signer,
            )),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        })
    }

    /// Makes the server's configuration: a raw key is asked of every client, and none is judged
    /// beyond being sound.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, TlsFault> {
        let verifier = AnyEnvoy {
            provider: self.provider.clone(),
        };
        self.server(Arc::new(verifier), ALPN)
    }

    /// Makes the configuration of a host in [`strangers`], which asks no client for a key.
    fn host_config(&self, protocol: &[u8]) -> Result<ServerConfig, TlsFault> {
        self.server(Arc::new(NoClientAuth), protocol)
    }

    fn server(
        &self,
        verifier: Arc<dyn ClientCertVerifier>,
        protocol: &[u8],
    ) -> Result<ServerConfig, TlsFault> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| TlsFault { source })?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Makes the configuration for one connection to the envoy `expected`. The second value tells
    /// after a failed handshake which key answered instead.
    pub(crate) fn client_config(
        &self,
        expected: EnvoyKey,
    ) -> Result<(ClientConfig, Arc<Mismatch>), TlsFault> {
        let mismatch = Arc::new(Mismatch::default());
        let verifier = ThisEnvoy {
            expected: Some(expected),
            mismatch: mismatch.clone(),
            provider: self.provider.clone(),
        };
        let mut config = client(verifier)?.with_client_cert_resolver(Arc::new(
            AlwaysResolvesClientRawPublicKeys::new(self.key.clone()),
        ));
        limit_client(&mut config, ALPN);
        Ok((config, mismatch))
    }
}

fn client(verifier: ThisEnvoy) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsFault> {
    let builder = ClientConfig::builder_with_provider(verifier.provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsFault { source })?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// One application protocol, no name of the server, no resumption.
fn limit_client(config: &mut ClientConfig, protocol: &[u8]) {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
}

/// What a server that is not the expected one showed.
#[derive(Debug, Default)]
pub(crate) struct Mismatch(OnceLock<Option<EnvoyKey>>);

impl Mismatch {
    /// Returns `None` when the key was right or none was shown; `Some(None)` when what was shown is
    /// no sound key.
    pub(crate) fn found(&self) -> Option<Option<EnvoyKey>> {
        self.0.get().copied()
    }
}

/// The name that the TLS library insists on; it is never sent.
pub(crate) fn unsent_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED).into())
}

/// Reads the key a peer proved, after the handshake.
pub(crate) fn proven_key(certificates: Option<&[CertificateDer<'_>]>) -> Option<EnvoyKey> {
    match certificates {
        Some([only]) => envoy_key(only),
        Some(_) | None => None,
    }
}

fn spki(key: &[u8; 32]) -> [u8; SPKI_LEN] {
    let mut spki = [0; SPKI_LEN];
    let (prefix, rest) = spki.split_at_mut(SPKI_PREFIX.len());
    prefix.copy_from_slice(&SPKI_PREFIX);
    rest.copy_from_slice(key);
    spki
}

/// Takes exactly the 44 bytes RFC 8410 §4 gives for a sound Ed25519 key, nothing else.
fn envoy_key(spki: &[u8]) -> Option<EnvoyKey> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    EnvoyKey::from_bytes(key.try_into().ok()?).ok()
}

fn check_signature(
    provider: &CryptoProvider,
    message: &[u8],
    spki: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    if signed.scheme != SignatureScheme::ED25519 {
        return Err(rustls::Error::PeerIncompatible(
            PeerIncompatible::NoSignatureSchemesInCommon,
        ));
    }
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(spki.as_ref()),
        signed,
        &provider.signature_verification_algorithms,
    )
}

fn no_tls12() -> rustls::Error {
    rustls::Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig)
}

/// Accepts a client with any sound envoy key.
#[derive(Debug)]
struct AnyEnvoy {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyEnvoy {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if intermediates.is_empty() && envoy_key(end_entity).is_some() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(CertificateError::BadEncoding.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Accepts the one server that was dialled; where none was named, any that proves a sound key.
#[derive(Debug)]
struct ThisEnvoy {
    expected: Option<EnvoyKey>,
    mismatch: Arc<Mismatch>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ThisEnvoy {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = envoy_key(end_entity);
        let is_wanted = match self.expected {
            Some(expected) => found == Some(expected),
            None => found.is_some(),
        };
        if intermediates.is_empty() && is_wanted {
            return Ok(ServerCertVerified::assertion());
        }
        // The first mismatch is the one to report; a handshake has only one.
        let _ = self.mismatch.0.set(found);
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        check_signature(&self.provider, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spki_round_trips_and_nothing_else_is_a_key() {
        let secret = SecretKey::from_seed(&[7; 32]);
        let good = spki(secret.public().as_bytes());
        assert_eq!(good.len(), 44);
        let key = envoy_key(&good).expect("a sound key");
        assert_eq!(key.as_bytes(), secret.public().as_bytes());

        assert_eq!(envoy_key(&good[..43]), None);
        let mut long = good.to_vec();
        long.push(0);
        assert_eq!(envoy_key(&long), None);
        for index in 0..SPKI_PREFIX.len() {
            let mut bent = good;
            bent[index] ^= 1;
            assert_eq!(envoy_key(&bent), None, "prefix byte {index}");
        }
    }

    #[test]
    fn refuses_the_weak_keys() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        assert_eq!(envoy_key(&spki(&identity_point)), None);
        assert_eq!(envoy_key(&spki(&[0; 32])), None);
    }

    #[test]
    fn pkcs8_gives_the_same_public_key() {
        let secret = SecretKey::from_seed(&[9; 32]);
        let identity = Identity::new(&secret).expect("an identity");
        let shown = identity.key.key.public_key().expect("ring knows its key");
        assert_eq!(shown.as_ref(), spki(secret.public().as_bytes()));
    }
}
