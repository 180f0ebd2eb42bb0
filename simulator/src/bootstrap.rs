//! Bootstrap tokens: what a control plane from 3.0 on gives to the installer of an agent.
//!
//! Owns which of them are good. Must not know how they look, nor agents.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

/// Tokens that were given out and are not over.
#[derive(Debug, Default)]
pub(crate) struct BootstrapTokens(HashMap<String, Bootstrap>);

#[derive(Debug)]
struct Bootstrap {
    cluster: Uuid,
    expires: Timestamp,
}

impl BootstrapTokens {
    pub(crate) fn issue(&mut self, token: String, cluster: Uuid, expires: Timestamp, now: Timestamp) {
        self.0.retain(|_, bootstrap| bootstrap.expires > now);
        self.0.insert(token, Bootstrap { cluster, expires });
    }

    /// Whether an agent of this cluster may use the token; `once` uses it up.
    pub(crate) fn redeem(&mut self, token: &str, cluster: Uuid, once: bool, now: Timestamp) -> bool {
        let good = self.0.get(token).is_some_and(|known| known.cluster == cluster && known.expires > now);
        if good && once {
            self.0.remove(token);
        }
        good
    }
}
