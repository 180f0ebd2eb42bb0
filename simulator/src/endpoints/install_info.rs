//! Install information of a cluster.
//!
//! Owns the reply with its shell text and the credentials in it. Must not know agents.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use uuid::Uuid;

use crate::auth::Session;
use crate::clock::{after, seconds};
use crate::config::TokenFormat;
use crate::endpoints::Call;
use crate::reply::Reply;
use crate::state::State;
use crate::validate;
use crate::version::Version;

const JFROG: &str = "https://runai.jfrog.io/artifactory/api/helm/run-ai-charts";
const NGC: &str = "https://helm.ngc.nvidia.com/nvidia/runai-oss";
const REPOSITORY: &str = "runai";

/// The oldest cluster version that this endpoint serves.
const OLDEST: Version = Version::new(2, 15);

/// How long a bootstrap token is good.
const BOOTSTRAP_LIFE: SignedDuration = SignedDuration::from_hours(2);

impl State {
    pub(super) fn install_info(&mut self, call: &Call<'_>, uuid: Uuid) -> Result<Reply, Reply> {
        let bad = |message: &str| Reply::message(400, message);
        let config = Arc::clone(&self.config);
        let past = self.past(call);
        let now = past.as_ref().map_or(call.now, |(_, then)| *then);
        let record = self.visible(past.as_ref().map_or(&self.store, |(store, _)| store), call.session, uuid)?;
        let version = call.query.get("version").filter(|text| !text.is_empty()).ok_or(bad("version is required"))?;
        let parsed = Version::parse(version).ok_or(bad("version must have the form major.minor[.patch]"))?;
        if parsed < OLDEST {
            return Err(bad("versions before 2.15 are not supported"));
        }
        let remote = call.query.get("remoteClusterUrl").filter(|text| !text.is_empty());
        if remote.is_some_and(|url| !validate::is_remote_url(url)) {
            return Err(bad("remoteClusterUrl must be a URL or a host"));
        }
        let during = config.delete.install_info_during;
        if record.is_deleting() && during != 200 {
            return Err(Reply::message(during, "the cluster is being deleted"));
        }
        if after(record.created_at, seconds(config.install_info.warmup_seconds)) > now {
            return Err(Reply::message(503, "install information is not ready yet"));
        }
        let control_plane = config.install_info.control_plane_url.as_deref().unwrap_or(&self.public_url);
        // Without a URL of its own the cluster is taken to share the control plane's host.
        let host = control_plane.split_once("://").map_or(control_plane, |(_, host)| host);
        let url = remote.or(record.domain(now, &config)).unwrap_or(host).to_owned();
        let control_plane = control_plane.to_owned();
        let (field, credential) = self.credential(call, uuid);
        let repository = if self.caps.version >= Version::new(3, 0) { NGC } else { JFROG };
        let command = format!(
            "helm repo add {REPOSITORY} {repository}\n\
             helm repo update\n\
             helm upgrade -i runai-cluster {REPOSITORY}/runai-cluster -n runai \\\n\
             --set controlPlane.url={control_plane} \\\n\
             --set controlPlane.{field}={credential} \\\n\
             --set cluster.uid={uuid} \\\n\
             --set cluster.url={url} \\\n\
             --version=\"{version}\" --create-namespace\n"
        );
        let mut body = json!({
            "installationStr": command,
            "repositoryName": REPOSITORY,
            "chartRepoURL": repository,
        });
        body[field] = credential.into();
        Ok(Reply::value(200, &body))
    }

    /// Name and value of the install credential.
    fn credential(&mut self, call: &Call<'_>, uuid: Uuid) -> (&'static str, String) {
        if self.caps.bootstrap_token {
            let session = Session { client_id: format!("installer-{uuid}"), tenant: call.session.tenant };
            let expires = after(call.now, BOOTSTRAP_LIFE);
            let token = self.auth.jwt(TokenFormat::Jwt, &session, call.now, expires, &mut self.rng);
            self.bootstrap.issue(token.clone(), uuid, expires, call.now);
            return ("bootstrapToken", token);
        }
        if self.config.install_info.rotate_on_read {
            let fresh = self.client_secret();
            let config = Arc::clone(&self.config);
            self.store.edit(uuid, call.now, |record| record.change_secret(fresh, call.now, &config));
        }
        let secret = self.store.get(uuid).map(|record| record.client_secret.clone());
        ("clientSecret", secret.unwrap_or_default())
    }
}
