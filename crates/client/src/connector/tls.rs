//! TLS with the roots of this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::connector::endpoint::Endpoint;
use crate::error::ConnectError;

/// Trusts what this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), and the given authority.
///
/// Reads files: call it where blocking is allowed.
pub(crate) fn configure(
    endpoint: &Endpoint,
    ca_certificate: Option<&Path>,
) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "some root certificates could not be loaded");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = ca_certificate {
        add(&mut roots, path).map_err(|source| ConnectError::Certificate {
            path: PathBuf::from(path),
            source,
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Tls {
            address: endpoint.authority(),
            source: Box::new(error),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut found = 0;
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
        found += 1;
    }
    if found == 0 {
        Err("it holds no certificate".into())
    } else {
        Ok(())
    }
}
