//! Kubeconfig files and logins. Knows how to write and read them, not who uses them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{Error, pki::Credential};

/// One way into one API server.
#[derive(Debug, Clone)]
pub struct Login {
    kubeconfig: PathBuf,
}

impl Login {
    /// An existing kubeconfig with its current context.
    #[must_use]
    pub fn new(kubeconfig: impl Into<PathBuf>) -> Self {
        Self { kubeconfig: kubeconfig.into() }
    }

    /// The kubeconfig file.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client of its own, with its own connections; they live in the calling runtime.
    ///
    /// # Errors
    /// [`Error::Kube`] when the file cannot be used.
    pub async fn client(&self) -> Result<Client, Error> {
        crate::install_crypto_provider();
        let kubeconfig =
            Kubeconfig::read_from(&self.kubeconfig).map_err(|error| Error::Kube(format!("kubeconfig: {error}")))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(|error| Error::Kube(format!("kubeconfig: {error}")))?;
        Ok(Client::try_from(config)?)
    }
}

/// The user part of a kubeconfig.
pub(crate) enum User<'a> {
    Certificate(&'a Credential),
    Token(&'a str),
}

/// Writes a kubeconfig with one context.
pub(crate) fn write(file: &Path, server: &str, ca_pem: &str, namespace: &str, user: &User<'_>) -> Result<Login, Error> {
    let user: Value = match user {
        User::Certificate(credential) => json!({
            "client-certificate-data": base64(&credential.certificate),
            "client-key-data": base64(&credential.key),
        }),
        User::Token(token) => json!({ "token": token }),
    };
    // JSON is YAML.
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": { "server": server, "certificate-authority-data": base64(ca_pem) },
        }],
        "users": [{ "name": "testbed", "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "testbed", "namespace": namespace },
        }],
        "current-context": "testbed",
    });
    fs::write(file, content.to_string()).map_err(Error::io(file.display().to_string()))?;
    Ok(Login::new(file))
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
