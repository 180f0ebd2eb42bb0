//! Certificates of the public port: a private CA made at start, exchangeable while running.
//!
//! Owns keys and the current server configuration. Must not know sockets.

use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Key or certificate generation failed.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The TLS library refused them.
    #[error("tls: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The current certificate and the CA behind it.
#[derive(Debug)]
pub(crate) struct TlsKeeper(RwLock<Current>);

#[derive(Debug)]
struct Current {
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
    server: Arc<ServerConfig>,
}

impl TlsKeeper {
    pub(crate) fn new() -> Result<Self, TlsError> {
        let (ca, ca_pem) = make_ca()?;
        let server = make_server(&ca)?;
        Ok(Self(RwLock::new(Current { ca, ca_pem, server })))
    }

    /// A new server certificate for new connections, from a new CA if wanted.
    ///
    /// Should generation fail, which has no known cause here, the old certificate stays and a warning is logged.
    pub(crate) fn rotate(&self, new_ca: bool) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = current.rotate(new_ca) {
            tracing::warn!(%error, "certificate not rotated");
        }
    }

    pub(crate) fn ca_pem(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ca_pem.clone()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).server)
    }
}

impl Current {
    fn rotate(&mut self, new_ca: bool) -> Result<(), TlsError> {
        if new_ca {
            let (ca, ca_pem) = make_ca()?;
            self.server = make_server(&ca)?;
            (self.ca, self.ca_pem) = (ca, ca_pem);
        } else {
            self.server = make_server(&self.ca)?;
        }
        Ok(())
    }
}

fn make_ca() -> Result<(Issuer<'static, KeyPair>, String), TlsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "runai-simulator private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn make_server(ca: &Issuer<'static, KeyPair>) -> Result<Arc<ServerConfig>, TlsError> {
    let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "runai-simulator");
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, ca)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
