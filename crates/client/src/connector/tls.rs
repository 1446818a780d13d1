//! TLS with the roots of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::connector::endpoint::Endpoint;
use crate::error::ConnectError;

/// Whom to trust, and how to show who one is.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    /// Certificates in PEM that are trusted besides those of this machine.
    pub(crate) authority: Option<PathBuf>,
    /// A certificate in PEM with what leads to its authority, to show to the server, and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
    /// Whether any server is taken for the one that was meant.
    pub(crate) trust_anybody: bool,
}

/// Trusts what this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), and the given authority.
///
/// Reads files: call it where blocking is allowed.
pub(crate) fn configure(endpoint: &Endpoint, files: &TlsFiles) -> Result<Arc<ClientConfig>, ConnectError> {
    let unusable = |error: rustls::Error| ConnectError::Tls {
        address: endpoint.authority(),
        source: Box::new(error),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let config = if files.trust_anybody {
        config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        config.with_root_certificates(roots(files.authority.as_deref())?)
    };
    let mut config = match &files.own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate).map_err(|source| unreadable(certificate, source))?;
            let key_der =
                PrivateKeyDer::from_pem_file(key).map_err(|source| unreadable(key, source.into()))?;
            config.with_client_auth_cert(chain, key_der).map_err(unusable)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(authority: Option<&Path>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "some root certificates could not be loaded");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = authority {
        add(&mut roots, path).map_err(|source| unreadable(path, source))?;
    }
    Ok(roots)
}

fn unreadable(path: &Path, source: Unreadable) -> ConnectError {
    ConnectError::Certificate {
        path: path.to_owned(),
        source,
    }
}

type Unreadable = Box<dyn std::error::Error + Send + Sync>;

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), Unreadable> {
    for certificate in certificates(path)? {
        roots.add(certificate)?;
    }
    Ok(())
}

/// The certificates of a file, one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Unreadable> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)?.collect();
    let found = found?;
    if found.is_empty() {
        Err("it holds no certificate".into())
    } else {
        Ok(found)
    }
}

/// Takes any server for the one that was meant, for who asked for it. The handshake is verified all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
