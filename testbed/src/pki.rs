//! Certificates and keys of one testbed: one CA, everything signed by it. Knows file names, but no process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::Error;

/// The group that RBAC always lets through.
const ADMINISTRATORS: &str = "system:masters";

/// A certificate and its key, both PEM.
pub(crate) struct Credential {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The CA and the files that the API server reads.
pub(crate) struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
    pub(crate) ca_file: PathBuf,
    pub(crate) serving_certificate_file: PathBuf,
    pub(crate) serving_key_file: PathBuf,
    /// Signs service account tokens.
    pub(crate) service_account_key_file: PathBuf,
    /// Checks them; the API server does not find the public half of a PKCS #8 file by itself.
    pub(crate) service_account_public_key_file: PathBuf,
}

impl Pki {
    /// Makes all keys and writes the files into `directory`.
    pub(crate) fn create(directory: &Path) -> Result<Self, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "testbed CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let pki = Self {
            ca,
            ca_file: directory.join("ca.pem"),
            serving_certificate_file: directory.join("serving.pem"),
            serving_key_file: directory.join("serving.key"),
            service_account_key_file: directory.join("service-account.key"),
            service_account_public_key_file: directory.join("service-account.pub"),
        };
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let serving = pki.sign(CertificateParams::new(names)?, ExtendedKeyUsagePurpose::ServerAuth)?;
        let service_account = KeyPair::generate()?;
        for (file, content) in [
            (&pki.ca_file, pki.ca.pem()),
            (&pki.serving_certificate_file, serving.certificate),
            (&pki.serving_key_file, serving.key),
            (&pki.service_account_key_file, service_account.serialize_pem()),
            (&pki.service_account_public_key_file, service_account.public_key_pem()),
        ] {
            fs::write(file, content).map_err(Error::io(file.display().to_string()))?;
        }
        Ok(pki)
    }

    /// The CA's certificate, PEM.
    pub(crate) fn ca_pem(&self) -> String {
        self.ca.pem()
    }

    /// A client certificate for `user`, in the administrators' group.
    pub(crate) fn administrator(&self, user: &str) -> Result<Credential, Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::OrganizationName, ADMINISTRATORS);
        params.distinguished_name.push(DnType::CommonName, user);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Credential, Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.ca)?.pem();
        Ok(Credential { certificate, key: key.serialize_pem() })
    }
}
