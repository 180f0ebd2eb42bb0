//! A Deployment's pod as a process on this machine: what a kubelet would make of it, without containers.
//!
//! Owns arguments, environment and volumes, read from the API server like a kubelet does, and refuses what it cannot
//! carry out. Knows no value of the chart.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{Error, Login, Testbed, ports};

/// What the operator is started with, as its Deployment says.
pub struct Pod {
    /// Arguments of the container.
    pub args: Vec<String>,
    /// Its environment, all of it.
    pub env: Vec<(String, String)>,
    /// The login of its ServiceAccount.
    pub login: Login,
    /// `host:port` in place of each named container port.
    pub ports: BTreeMap<String, String>,
    /// Paths of its probes, by name: `livenessProbe`, `readinessProbe`.
    pub probes: BTreeMap<String, String>,
    /// How long it may take to end.
    pub grace: Duration,
}

impl Testbed {
    /// Reads a Deployment and everything that its pods refer to, for one more pod of it: with a name, ports, files and a token
    /// of its own.
    ///
    /// Ports are replaced by free ones on loopback, and paths of mounts by directories, wherever they occur in
    /// arguments and environment.
    ///
    /// # Errors
    /// As [`Testbed::kubectl_ok`], also for a ConfigMap or Secret that is missing; [`Error::State`] for what a process
    /// cannot be given.
    pub async fn pod(&self, namespace: &str, deployment: &str) -> Result<Pod, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{deployment}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = self.directory().join(&name);
        let found = self.object("deployment", namespace, deployment).await?;
        let spec = &found["spec"]["template"]["spec"];
        let [container] = array(&spec["containers"]) else {
            return Err(cannot(&format!("the Deployment has {} containers", array(&spec["containers"]).len())));
        };
        if !spec["initContainers"].is_null() || !container["command"].is_null() {
            return Err(cannot("init containers and commands are not carried out"));
        }
        if spec["automountServiceAccountToken"] == false {
            return Err(cannot("the pods get no token: automountServiceAccountToken is false"));
        }
        let mounts = self.mounts(namespace, spec, container, &directory).await?;
        let mut ports = BTreeMap::new();
        let mut swaps: Vec<(String, String)> = mounts;
        for port in array(&container["ports"]) {
            let [free] = ports::free_ports()?;
            let address = format!("127.0.0.1:{free}");
            swaps.push((format!("0.0.0.0:{}", port["containerPort"]), address.clone()));
            ports.insert(text(&port["name"]), address);
        }
        let here = |words: &str| swaps.iter().fold(words.to_owned(), |words, (there, here)| words.replace(there, here));
        let args = array(&container["args"]).iter().map(|arg| here(&text(arg))).collect();
        let env = self.environment(namespace, container, &name).await?;
        let env = env.into_iter().map(|(name, value)| (name, here(&value))).collect();
        let probes = ["livenessProbe", "readinessProbe"].map(|probe| {
            let get = &container[probe]["httpGet"];
            let address = ports.get(&text(&get["port"])).cloned().unwrap_or_default();
            (probe.to_owned(), format!("http://{address}{}", text(&get["path"])))
        });
        let login = self.serviceaccount_kubeconfig(namespace, &text(&spec["serviceAccountName"])).await?;
        Ok(Pod {
            args,
            env,
            login: own(&login, &directory)?,
            ports,
            probes: probes.into(),
            grace: Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30)),
        })
    }

    async fn object(&self, kind: &str, namespace: &str, name: &str) -> Result<Value, Error> {
        let found = self.kubectl_ok(&["get", kind, name, "-n", namespace, "-o", "json"]).await?;
        serde_json::from_str(&found)
            .map_err(|error| Error::Parse { what: format!("{kind} {name}"), detail: error.to_string() })
    }

    /// Writes the volumes of a container into directories: path in the container, path here.
    async fn mounts(
        &self,
        namespace: &str,
        spec: &Value,
        container: &Value,
        pod: &Path,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut mounts = Vec::new();
        for mount in array(&container["volumeMounts"]) {
            let name = text(&mount["name"]);
            let volume = array(&spec["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let volume = volume.ok_or_else(|| cannot(&format!("there is no volume {name}")))?;
            if !mount["subPath"].is_null() {
                return Err(cannot(&format!("mount {name} has a subPath")));
            }
            let dir = pod.join(&name);
            if let Some(source) = volume["configMap"]["name"].as_str() {
                write(&dir, &self.data("configmap", namespace, source).await?)?;
            } else if let Some(source) = volume["secret"]["secretName"].as_str() {
                write(&dir, &self.data("secret", namespace, source).await?)?;
            } else if volume["emptyDir"].is_object() {
                write(&dir, &BTreeMap::new())?;
            } else {
                return Err(cannot(&format!("volume {name} is of another kind: {volume}")));
            }
            mounts.push((text(&mount["mountPath"]), dir.display().to_string()));
        }
        Ok(mounts)
    }

    /// The keys of a ConfigMap or Secret.
    async fn data(&self, kind: &str, namespace: &str, name: &str) -> Result<BTreeMap<String, String>, Error> {
        let object = self.object(kind, namespace, name).await?;
        let mut data = BTreeMap::new();
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let value = text(value);
            let value = if kind == "secret" { decoded(&value)? } else { value };
            data.insert(key.clone(), value);
        }
        Ok(data)
    }

    async fn environment(&self, namespace: &str, container: &Value, pod: &str) -> Result<Vec<(String, String)>, Error> {
        let mut env = Vec::new();
        for source in array(&container["envFrom"]) {
            let (kind, name) = match (source["configMapRef"]["name"].as_str(), source["secretRef"]["name"].as_str()) {
                (Some(name), _) => ("configmap", name),
                (None, Some(name)) => ("secret", name),
                (None, None) => return Err(cannot(&format!("the environment comes from {source}"))),
            };
            let prefix = source["prefix"].as_str().unwrap_or_default();
            let data = self.data(kind, namespace, name).await?;
            env.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
        }
        for variable in array(&container["env"]) {
            let from = &variable["valueFrom"];
            let value = match from["fieldRef"]["fieldPath"].as_str() {
                None if from.is_null() => variable["value"].as_str().unwrap_or_default().to_owned(),
                Some("metadata.namespace") => namespace.to_owned(),
                Some("metadata.name") => pod.to_owned(),
                _ => return Err(cannot(&format!("a variable comes from {from}"))),
            };
            env.push((text(&variable["name"]), value));
        }
        Ok(env)
    }
}

fn decoded(value: &str) -> Result<String, Error> {
    let bytes = STANDARD.decode(value).map_err(|error| cannot(&format!("a Secret is no base64: {error}")))?;
    String::from_utf8(bytes).map_err(|error| cannot(&format!("a Secret is no text: {error}")))
}

/// The login in a file of the pod's own: the account's is written anew for the next pod.
fn own(login: &Login, pod: &Path) -> Result<Login, Error> {
    let file = pod.join("kubeconfig");
    fs::create_dir_all(pod).map_err(Error::io(pod.display().to_string()))?;
    fs::copy(login.kubeconfig(), &file).map_err(Error::io(file.display().to_string()))?;
    Ok(Login::new(file))
}

fn write(dir: &Path, data: &BTreeMap<String, String>) -> Result<(), Error> {
    let failed = |path: &PathBuf| Error::io(path.display().to_string());
    let dir = dir.to_owned();
    fs::create_dir_all(&dir).map_err(failed(&dir))?;
    for (key, value) in data {
        let path = dir.join(key);
        fs::write(&path, value).map_err(failed(&path))?;
    }
    Ok(())
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn cannot(what: &str) -> Error {
    Error::State(format!("no process can stand for this pod: {what}"))
}
