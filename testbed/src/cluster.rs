//! The testbed itself: etcd, API server and controller manager of one Kubernetes control plane on loopback.
//!
//! Owns their command lines, their order and their restarts. Knows nothing of the operator or its kinds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};

use crate::{
    AuditEvent, Binaries, Error, Kubectl, Login, Output, TemporaryDirectory, audit,
    kubeconfig::{self, User},
    kubectl,
    pki::Pki,
    ports,
    process::{Process, tail},
    turn, wait_until,
};

/// How often a start is tried again when somebody else took a port meanwhile.
const ATTEMPTS: u32 = 5;
/// The user of [`Testbed::kubeconfig`], as the audit log shows it.
const ADMINISTRATOR: &str = "testbed-admin";
/// Life of the tokens in service account kubeconfigs.
const TOKEN_SECONDS: i64 = 24 * 3600;
/// The controllers that objects of a namespaced kind meet: deletion of namespaces, owner references, aggregated roles.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                           clusterrole-aggregation-controller";

/// What a testbed consists of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Starts kube-controller-manager too: namespace deletion, garbage collection, role aggregation.
    pub controller_manager: bool,
    /// Makes the API server keep an audit log, for [`Testbed::audit_events`].
    pub audit: bool,
    /// The longest time that a server may take to become ready.
    pub ready_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { controller_manager: false, audit: true, ready_within: Duration::from_secs(120) }
    }
}

/// A running Kubernetes API with its files. Everything ends with it.
pub struct Testbed {
    // The order of fields is the order of ending: users of a server before the server, the directory last.
    controller_manager: Option<Process>,
    apiserver: Option<Process>,
    etcd: Option<Process>,
    options: Options,
    binaries: Binaries,
    pki: Pki,
    ports: Ports,
    admin: Login,
    directory: TemporaryDirectory,
}

#[derive(Clone, Copy)]
struct Ports {
    etcd: u16,
    apiserver: u16,
}

impl Testbed {
    /// Finds (or builds) the binaries and starts everything; returns when the API server is ready.
    ///
    /// # Errors
    /// As [`crate::find_all`]; [`Error::Ended`] or [`Error::Deadline`] with the end of the log when a server does not
    /// come up. Nothing keeps running then.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let binaries = crate::find_all().await?;
        let _turn = turn::take().await;
        let mut attempt = 1;
        loop {
            match Self::start_once(options.clone(), binaries.clone()).await {
                Err(Error::Ended { tail, .. }) if attempt < ATTEMPTS && tail.contains("address already in use") => {
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn start_once(options: Options, binaries: Binaries) -> Result<Self, Error> {
        crate::install_crypto_provider();
        let directory = TemporaryDirectory::create()?;
        let pki = Pki::create(directory.path())?;
        let [etcd, apiserver] = ports::free_ports()?;
        let admin = kubeconfig::write(
            &directory.path().join("admin.kubeconfig"),
            &url(apiserver),
            &pki.ca_pem(),
            "default",
            &User::Certificate(&pki.administrator(ADMINISTRATOR)?),
        )?;
        let mut testbed = Self {
            controller_manager: None,
            apiserver: None,
            etcd: None,
            options,
            binaries,
            pki,
            ports: Ports { etcd, apiserver },
            admin,
            directory,
        };
        testbed.start_etcd()?;
        testbed.start_apiserver().await?;
        if testbed.options.controller_manager {
            testbed.start_controller_manager()?;
        }
        Ok(testbed)
    }

    /// The kubeconfig of an administrator (user `testbed-admin`).
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// The address of the API server.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.ports.apiserver)
    }

    /// Where the testbed keeps its files and logs; removed at the end unless `TESTBED_KEEP` is set.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The binaries in use.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// A new administrator's client for the calling runtime.
    ///
    /// # Errors
    /// As [`Login::client`].
    pub async fn client(&self) -> Result<Client, Error> {
        self.admin.client().await
    }

    /// kubectl as administrator, to be passed on.
    #[must_use]
    pub fn kubectl_handle(&self) -> Kubectl {
        self.kubectl_as(&self.admin)
    }

    /// kubectl with another login, such as that of a service account.
    #[must_use]
    pub fn kubectl_as(&self, login: &Login) -> Kubectl {
        Kubectl::new(&self.binaries.kubectl, login.kubeconfig()).with_cache(self.directory.path().join("cache"))
    }

    /// kubectl as administrator with another default namespace. Objects may still name one of their own.
    ///
    /// # Errors
    /// [`Error::Io`] when the kubeconfig cannot be written.
    pub fn kubectl_in_namespace(&self, namespace: &str) -> Result<Kubectl, Error> {
        let credential = self.pki.administrator(ADMINISTRATOR)?;
        let file = self.directory.path().join(format!("admin-{namespace}.kubeconfig"));
        let user = User::Certificate(&credential);
        let login = kubeconfig::write(&file, &self.url(), &self.pki.ca_pem(), namespace, &user)?;
        Ok(self.kubectl_as(&login))
    }

    /// Runs kubectl as administrator.
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn kubectl(&self, args: &[&str]) -> Result<Output, Error> {
        self.kubectl_handle().run(args).await
    }

    /// Runs kubectl as administrator and returns its stdout.
    ///
    /// # Errors
    /// As [`Kubectl::ok`].
    pub async fn kubectl_ok(&self, args: &[&str]) -> Result<String, Error> {
        self.kubectl_handle().ok(args).await
    }

    /// Server-side apply of manifests as administrator.
    ///
    /// # Errors
    /// As [`Kubectl::apply`].
    pub async fn kubectl_apply(&self, manifests: &str) -> Result<String, Error> {
        self.kubectl_handle().apply(manifests).await
    }

    /// The program of [`Testbed::helm`].
    #[must_use]
    pub fn helm_program(&self) -> &Path {
        &self.binaries.helm
    }

    /// Runs helm as administrator, with caches of its own.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be started.
    pub async fn helm(&self, args: &[&str]) -> Result<Output, Error> {
        self.run_helm(&self.binaries.helm, args).await
    }

    /// The same with another version of helm.
    ///
    /// # Errors
    /// As [`Testbed::helm`].
    pub async fn run_helm(&self, helm: &Path, args: &[&str]) -> Result<Output, Error> {
        let homes = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];
        let env = homes.map(|name| (name, self.directory.path().join("helm")));
        kubectl::run(helm, self.kubeconfig(), env, args, None).await
    }

    /// A kubeconfig that holds nothing but a token of this service account (24 h), with its namespace as the default.
    /// Called again it makes a new token in the same file.
    ///
    /// # Errors
    /// [`Error::Kube`], for example when the service account does not exist.
    pub async fn serviceaccount_kubeconfig(&self, namespace: &str, name: &str) -> Result<Login, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.map(|status| status.token).unwrap_or_default();
        let file = self.directory.path().join(format!("{namespace}-{name}.kubeconfig"));
        kubeconfig::write(&file, &self.url(), &self.pki.ca_pem(), namespace, &User::Token(&token))
    }

    /// Completed requests, from the audit log, that ended at `since` or later; `None` means all.
    ///
    /// # Errors
    /// [`Error::State`] without [`Options::audit`]; [`Error::Parse`] for a damaged log.
    pub fn audit_events(&self, since: Option<Timestamp>) -> Result<Vec<AuditEvent>, Error> {
        if !self.options.audit {
            return Err(Error::State("this testbed was started without an audit log".to_owned()));
        }
        audit::read(&self.audit_log(), since)
    }

    /// Ends the API server by SIGKILL; etcd keeps the data.
    pub fn stop_apiserver(&mut self) {
        self.apiserver = None;
    }

    /// Starts the API server on its old port and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::State`] when it runs; otherwise as [`Testbed::start`].
    pub async fn start_apiserver(&mut self) -> Result<(), Error> {
        if self.apiserver.is_some() {
            return Err(Error::State("the API server runs already".to_owned()));
        }
        let mut command = self.apiserver_command()?;
        self.apiserver = Some(Process::start("kube-apiserver", &mut command, &self.log("kube-apiserver"))?);
        let ready = self.wait_ready().await;
        if ready.is_err() {
            self.apiserver = None;
        }
        ready
    }

    /// Ends the API server by SIGKILL and starts it again.
    ///
    /// # Errors
    /// As [`Testbed::start`].
    pub async fn restart_apiserver(&mut self) -> Result<(), Error> {
        self.stop_apiserver();
        self.start_apiserver().await
    }

    /// Ends etcd by SIGKILL: the API server stays and answers with errors.
    pub fn kill_etcd(&mut self) {
        self.etcd = None;
    }

    /// Starts etcd (again), with the data that it has.
    ///
    /// # Errors
    /// [`Error::State`] when it runs; [`Error::Io`] when it cannot be started.
    pub fn start_etcd(&mut self) -> Result<(), Error> {
        if self.etcd.is_some() {
            return Err(Error::State("etcd runs already".to_owned()));
        }
        let client_url = format!("http://127.0.0.1:{}", self.ports.etcd);
        let mut command = Command::new(&self.binaries.etcd);
        command
            .arg(format!("--data-dir={}", self.directory.path().join("etcd").display()))
            .arg("--unsafe-no-fsync")
            .arg(format!("--listen-client-urls={client_url}"))
            .arg(format!("--advertise-client-urls={client_url}"))
            .arg("--listen-peer-urls=http://127.0.0.1:0")
            .arg("--log-level=warn");
        self.etcd = Some(Process::start("etcd", &mut command, &self.log("etcd"))?);
        Ok(())
    }

    fn start_controller_manager(&mut self) -> Result<(), Error> {
        let login = kubeconfig::write(
            &self.directory.path().join("controller-manager.kubeconfig"),
            &self.url(),
            &self.pki.ca_pem(),
            "default",
            &User::Certificate(&self.pki.administrator("system:kube-controller-manager")?),
        )?;
        let mut command = Command::new(&self.binaries.controller_manager);
        command
            .arg(format!("--kubeconfig={}", login.kubeconfig().display()))
            .arg(format!("--controllers={CONTROLLERS}"))
            .args(["--use-service-account-credentials=false", "--leader-elect=false"])
            // Nobody asks it anything.
            .arg("--secure-port=0");
        let log = self.log("kube-controller-manager");
        self.controller_manager = Some(Process::start("kube-controller-manager", &mut command, &log)?);
        Ok(())
    }

    fn apiserver_command(&self) -> Result<Command, Error> {
        let pki = &self.pki;
        let mut command = Command::new(&self.binaries.apiserver);
        command
            // Memory for processor time: a fifth of that went into collecting garbage.
            .env("GOGC", "400")
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .arg(format!("--secure-port={}", self.ports.apiserver))
            .arg(format!("--client-ca-file={}", pki.ca_file.display()))
            .arg(format!("--tls-cert-file={}", pki.serving_certificate_file.display()))
            .arg(format!("--tls-private-key-file={}", pki.serving_key_file.display()))
            .arg("--authorization-mode=RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-account-key-file={}", pki.service_account_public_key_file.display()))
            .arg(format!("--service-account-signing-key-file={}", pki.service_account_key_file.display()))
            .arg("--service-cluster-ip-range=10.96.0.0/16");
        if self.options.audit {
            let policy = self.directory.path().join("audit-policy.json");
            fs::write(&policy, audit::POLICY).map_err(Error::io(policy.display().to_string()))?;
            command
                .arg(format!("--audit-policy-file={}", policy.display()))
                .arg(format!("--audit-log-path={}", self.audit_log().display()))
                // Megabytes; the default of 100 would rotate the log away under a test that counts.
                .arg("--audit-log-maxsize=10000");
        }
        Ok(command)
    }

    async fn wait_ready(&mut self) -> Result<(), Error> {
        let client = self.client().await?;
        let (apiserver_log, etcd_log) = (self.log("kube-apiserver"), self.log("etcd"));
        let servers = [&mut self.apiserver, &mut self.etcd];
        let mut running: Vec<_> = servers.into_iter().flatten().collect();
        let ready = wait_until(self.options.ready_within, "the API server to become ready", async || {
            for process in &mut running {
                if let Err(error) = process.check_running() {
                    return Ok(Err(error));
                }
            }
            let request = http::Request::get("/readyz").body(Vec::new()).map_err(|error| error.to_string())?;
            client.request_text(request).await.map(|_ok| Ok(())).map_err(|error| error.to_string())
        })
        .await;
        match ready {
            Ok(outcome) => outcome,
            Err(Error::Deadline { what, waited, last }) => {
                let (apiserver, etcd) = (tail(&apiserver_log), tail(&etcd_log));
                let last = format!("{last}\n--- kube-apiserver\n{apiserver}\n--- etcd\n{etcd}");
                Err(Error::Deadline { what, waited, last })
            }
            Err(other) => Err(other),
        }
    }

    fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }
}

fn url(apiserver: u16) -> String {
    format!("https://127.0.0.1:{apiserver}")
}
