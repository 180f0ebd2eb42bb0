//! Argo CD: its application controller and repository server as processes, with a Redis in memory.
//!
//! Owns its kinds, its settings and command lines. Does not know what it syncs. Its API server does not run: what a person
//! does there is written to the Applications. The controller's metrics are open on all interfaces, on a free port: it has no
//! flag for their address.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
    time::Duration,
};

use serde_json::json;

use crate::{
    Error, TemporaryDirectory, Testbed, Tool, ports,
    process::{Process, tails},
    wait_until,
};

const MODULE: &str = "github.com/argoproj/argo-cd/v3";
const DEFINITIONS: &str = "manifests/crds";
const NAMESPACE: &str = "argocd";
/// A deadline that is never reached when all is well.
const SOON: Duration = Duration::from_secs(60);

/// The running parts, with an administrator's rights. Ended by SIGKILL on drop.
pub struct ArgoCd {
    // The order of fields is the order of ending.
    parts: Vec<Process>,
    _directory: TemporaryDirectory,
}

impl ArgoCd {
    /// Installs the kinds, the namespace `argocd` and the project `default`.
    ///
    /// # Errors
    /// As [`Tool::find`] and [`Testbed::kubectl_apply`].
    pub async fn install(testbed: &Testbed) -> Result<(), Error> {
        testbed.kubectl_apply(&Tool::ArgoCd.definitions(MODULE, DEFINITIONS).await?).await?;
        testbed.kubectl_handle().established(&[]).await?;
        testbed.kubectl_apply(&settings()).await.map(drop)
    }

    /// Starts the parts. Settings that are changed later make the controller list everything anew, at some time.
    ///
    /// # Errors
    /// As [`Tool::find`]; [`Error::Io`].
    pub async fn start(testbed: &Testbed) -> Result<Self, Error> {
        let program = Tool::ArgoCd.find().await?;
        let directory = TemporaryDirectory::create()?;
        let io = || Error::io(directory.path().display().to_string());
        // As in Argo CD's image, the repository server finds these in the path.
        symlink(testbed.helm_program(), directory.path().join("helm")).map_err(io())?;
        let wrapper = directory.path().join("git-verify-wrapper.sh");
        fs::copy(Tool::ArgoCd.files(MODULE).await?.join("hack/git-verify-wrapper.sh"), &wrapper).map_err(io())?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(io())?;
        for name in ["tls", "ssh"] {
            fs::create_dir(directory.path().join(name)).map_err(io())?;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let [redis, repositories] = ports::free_ports()?.map(|port: u16| format!("127.0.0.1:{port}"));
        let start = |part: &str, command: &mut Command, args: &[&str]| {
            let log = testbed.directory().join(format!("{part}.log"));
            command
                .args(args)
                .current_dir(directory.path())
                .env("ARGOCD_BINARY_NAME", part)
                .env("KUBECONFIG", testbed.kubeconfig())
                .env("PATH", format!("{}:{path}", directory.path().display()))
                .env("HOME", directory.path())
                .env("TMPDIR", directory.path())
                .env("ARGOCD_TLS_DATA_PATH", directory.path().join("tls"))
                .env("ARGOCD_SSH_DATA_PATH", directory.path().join("ssh"))
                .env("ARGOCD_ASK_PASS_SOCK", directory.path().join("ask-pass.sock"))
                .env("ARGOCD_GPG_ENABLED", "false")
                // `https://kubernetes.default.svc` is the API server of the kubeconfig.
                .env("ARGOCD_FAKE_IN_CLUSTER", "true")
                .env("ARGOCD_CONTROLLER_SHARD", "0");
            Process::start(part, command, &log)
        };
        let mut parts = vec![start("redis", &mut Command::new(Tool::Redis.find().await?), &[&redis])?];
        let [metrics, others] = ports::free_ports()?.map(|port: u16| port.to_string());
        let port = repositories.rsplit(':').next().unwrap_or_default();
        let server = ["--address", "127.0.0.1", "--port", port, "--disable-tls", "--client-ca-path="];
        let server =
            [&server[..], &["--redis", &redis, "--metrics-address", "127.0.0.1", "--metrics-port", &metrics]].concat();
        let mut server = start("argocd-repo-server", &mut Command::new(&program), &server)?;
        wait_until(SOON, "Argo CD's repository server", async || {
            server.check_running().map_err(|error| error.to_string())?;
            tokio::net::TcpStream::connect(&repositories).await.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        parts.push(server);
        let controller = ["--namespace", NAMESPACE, "--repo-server", &repositories, "--repo-server-plaintext"];
        let controller = [&controller[..], &["--redis", &redis, "--metrics-port", &others]].concat();
        parts.push(start("argocd-application-controller", &mut Command::new(&program), &controller)?);
        Ok(Self { parts, _directory: directory })
    }

    /// The ends of their logs.
    #[must_use]
    pub fn said(&self) -> String {
        tails(&self.parts)
    }
}

/// What an installation brings along.
fn settings() -> String {
    let labels = json!({ "app.kubernetes.io/part-of": "argocd" });
    let metadata = |name: &str| json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    let all = [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("argocd-cm") }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata("argocd-secret"),
            "stringData": { "server.secretkey": "of no use without the API server" },
        }),
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata("default"),
            "spec": {
                "sourceRepos": ["*"], "destinations": [{ "server": "*", "namespace": "*" }],
                "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
            },
        }),
    ];
    all.map(|object| format!("---\n{object}\n")).concat()
}
