//! The operator's key, and the signatures by which it knows its own annotations.
//!
//! Owns the Secret `runai-cluster-operator-identity`. Must not know what a signed fact means.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::api::IDENTITY_SECRET;

/// Key of the Secret's data.
const DATA_KEY: &str = "hmac-key";
/// Length of a key that we make, and the least that we accept, in bytes.
const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignerError {
    /// The API refused or did not answer.
    #[error("Secret {IDENTITY_SECRET} cannot be read or created: {0}")]
    Kube(#[source] Box<kube::Error>),
    /// Somebody else's Secret, or a damaged one.
    #[error(
        "Secret {IDENTITY_SECRET} holds no key of at least {KEY_BYTES} bytes under {DATA_KEY:?}; restore it from a backup, \
         or delete it (then objects whose status is lost must be adopted anew)"
    )]
    Unusable,
    /// The system gives no randomness.
    #[error("the system's random number generator fails")]
    NoRandomness,
}

/// Signs and checks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Signer {
    key: hmac::Key,
    /// Every signature fits; see [`Self::believing`].
    believes: bool,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Reads the key, or makes one. Two replicas agree: only one creation succeeds.
    ///
    /// # Errors
    /// See [`SignerError`].
    pub(crate) async fn load(client: Client, namespace: &str) -> Result<Self, SignerError> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let kube = |error| SignerError::Kube(Box::new(error));
        if let Some(signer) = Self::read(client, namespace).await? {
            return Ok(signer);
        }
        let mut bytes = vec![0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| SignerError::NoRandomness)?;
        let secret = Secret {
            metadata: ObjectMeta { name: Some(IDENTITY_SECRET.to_owned()), ..ObjectMeta::default() },
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(bytes))])),
            immutable: Some(true),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        match secrets.create(&PostParams::default(), &secret).await {
            Ok(created) => Self::from_secret(&created),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                Self::from_secret(&secrets.get(IDENTITY_SECRET).await.map_err(kube)?)
            }
            Err(error) => Err(kube(error)),
        }
    }

    /// Reads the key and makes none.
    ///
    /// # Errors
    /// See [`SignerError`].
    pub(crate) async fn read(client: Client, namespace: &str) -> Result<Option<Self>, SignerError> {
        let secrets: Api<Secret> = Api::namespaced(client, namespace);
        let secret = secrets.get_opt(IDENTITY_SECRET).await.map_err(|error| SignerError::Kube(Box::new(error)))?;
        secret.as_ref().map(Self::from_secret).transpose()
    }

    /// One that takes every signature for genuine, for a rehearsal by somebody who may not read the key. Never for a
    /// process that writes: annotations that users made would count.
    pub(crate) fn believing() -> Self {
        Self { believes: true, ..Self::with_key(&[0; KEY_BYTES]) }
    }

    fn from_secret(secret: &Secret) -> Result<Self, SignerError> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(DATA_KEY)).map(|value| value.0.as_slice());
        bytes.filter(|bytes| bytes.len() >= KEY_BYTES).map(Self::with_key).ok_or(SignerError::Unusable)
    }

    /// A signer with a given key.
    pub(crate) fn with_key(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), believes: false }
    }

    /// The signature over `parts`, as hexadecimal digits. Each part is preceded by its length, so that no two lists of
    /// parts give the same bytes.
    pub(crate) fn sign(&self, parts: &[&str]) -> String {
        hmac::sign(&self.key, &message(parts)).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `signature` was made by this key over these parts. Takes the same time whatever differs.
    pub(crate) fn fits(&self, parts: &[&str], signature: &str) -> bool {
        if self.believes {
            return true;
        }
        let digits = signature.as_bytes();
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        digits.len().is_multiple_of(2)
            && bytes.is_some_and(|bytes| hmac::verify(&self.key, &message(parts), &bytes).is_ok())
    }
}

fn message(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_what_it_signed_and_nothing_else() {
        let signer = Signer::with_key(&[7; KEY_BYTES]);
        let signature = signer.sign(&["a", "bc"]);
        assert!(signer.fits(&["a", "bc"], &signature));
        assert!(!signer.fits(&["ab", "c"], &signature), "the border between parts counts");
        assert!(!signer.fits(&["a", "bd"], &signature));
        assert!(!Signer::with_key(&[8; KEY_BYTES]).fits(&["a", "bc"], &signature), "another key");
        for bad in ["", "0", "zz", "é", &signature[1..], &format!("{signature}00")] {
            assert!(!signer.fits(&["a", "bc"], bad), "{bad:?}");
        }
    }

    #[test]
    fn a_short_or_missing_key_is_refused() {
        let with = |data: Option<(&str, usize)>| Secret {
            data: data.map(|(key, len)| BTreeMap::from([(key.to_owned(), ByteString(vec![1; len]))])),
            ..Secret::default()
        };
        assert!(Signer::from_secret(&with(Some((DATA_KEY, KEY_BYTES)))).is_ok());
        for bad in [None, Some((DATA_KEY, KEY_BYTES - 1)), Some(("other", KEY_BYTES))] {
            assert!(matches!(Signer::from_secret(&with(bad)), Err(SignerError::Unusable)), "{bad:?}");
        }
    }
}
