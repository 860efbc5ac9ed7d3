//! TLS for the connection: with or without a proof of who the server is.

use domain::spec::{DatabaseAt, TlsMode};
use ports::{ConnectorError, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The TLS side of a connection. `verify-full` checks chain and host name, against `ca` or the system's authorities; the
/// other modes encrypt without asking who is there.
///
/// # Errors
/// `Invalid` when `ca` cannot be read as certificates.
pub fn connector(at: &DatabaseAt) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectorError::new(ErrorKind::Internal, "prepare TLS for", at.describe(), e.to_string()))?;
    let config = if at.tls == TlsMode::VerifyFull {
        builder.with_root_certificates(roots(at)?).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth()
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(at: &DatabaseAt) -> Result<RootCertStore> {
    let bad = |why: String| {
        ConnectorError::new(ErrorKind::Invalid, "read the certificate authority for", at.describe(), why)
            .advice("'ca' is PEM text or the path of a PEM file; without it the system's authorities are used")
    };
    let mut store = RootCertStore::empty();
    match &at.ca {
        Some(ca) => {
            let pem = if ca.contains("-----BEGIN") { ca.clone().into_bytes() } else { std::fs::read(ca).map_err(|e| bad(e.to_string()))? };
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                store.add(certificate.map_err(|e| bad(e.to_string()))?).map_err(|e| bad(e.to_string()))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() { Err(bad("there is no certificate in it".to_owned())) } else { Ok(store) }
}

/// Accepts every certificate: encryption without identity, as `prefer` and `require` promise no more.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
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

    fn verify_tls12_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(m, c, d, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(m, c, d, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
