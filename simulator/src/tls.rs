//! Certificates of the public port: a private CA made at start, exchangeable while running.
//!
//! Owns keys and the current server configuration. Must not know sockets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::config::ServerCertificate;

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Key or certificate generation failed.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
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
    /// With a certificate of the private CA, or with one from files.
    pub(crate) fn new(own: Option<&ServerCertificate>) -> Result<Self, TlsError> {
        let (ca, ca_pem) = make_ca()?;
        let server = own.map_or_else(|| make_server(&ca), read_server)?;
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
    serve(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
}

fn read_server(own: &ServerCertificate) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Unreadable { path, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&own.certificate).and_then(Iterator::collect);
    let key = PrivateKeyDer::from_pem_file(&own.key).map_err(unreadable(&own.key))?;
    serve(chain.map_err(unreadable(&own.certificate))?, key)
}

fn serve(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
