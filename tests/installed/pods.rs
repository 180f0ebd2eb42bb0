//! The pods of the release as processes, under a kubelet of the tests: what has ended is started again in its pod, probes are
//! asked, and what a pod owes and does not do is written down.
//!
//! Owns which process is which pod, who leads, and what becomes of each. A kubelet has to be there: a leader that cannot renew
//! its Lease in time, which a busy machine may bring about, ends by design and counts on being started again. It hides
//! nothing: any other end, a panic, and a pod that was ready and stops being so are objections. Must not know any scenario.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures::future::{join_all, try_join_all};
use testbed::{Error, Login, OPERATOR_NAMESPACE, OperatorProcess, Pod, Testbed, wait_until};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::world::SOON;

/// The Deployment.
/// The name of the operator's Deployment in the guides.
pub const DEPLOYMENT: &str = "runai-operator-runai-cluster-operator";
/// The pause between two looks at a pod.
const LOOK: Duration = Duration::from_millis(500);
/// How long a probe may take, and how many in a row fail before a pod counts as not ready: as kubelets have it, with more time.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const PROBE_FAILURES: u32 = 3;
/// So often may leadership be lost in one world: a scenario takes about a minute, and a second time in it is no accident.
const MOST_LOSSES: usize = 2;
/// The last word of a leader that could not renew its Lease.
const LOST: &str = "leadership was lost: this process ends";

/// All pods of the release. Clones are the same pods.
#[derive(Clone)]
pub struct Pods(Arc<Kubelet>);

struct Kubelet {
    http: reqwest::Client,
    directory: PathBuf,
    pods: Vec<(Pod, Mutex<Container>)>,
    books: Mutex<Books>,
}

/// What runs in a pod.
struct Container {
    process: OperatorProcess,
    started: Instant,
    /// It has been ready since it was started.
    ready: bool,
    /// Probes in a row that failed since.
    failures: u32,
    /// The scenario killed it.
    killed: bool,
    /// Nothing is started any more.
    over: bool,
}

#[derive(Default)]
struct Books {
    objections: Vec<String>,
    losses: usize,
    logs: Vec<PathBuf>,
}

impl Pods {
    /// As many as the Deployment has replicas.
    pub async fn start(bed: &Testbed) -> Self {
        let args = ["get", "deployment", DEPLOYMENT, "-n", OPERATOR_NAMESPACE, "-o", "jsonpath={.spec.replicas}"];
        let count: usize = bed.kubectl_ok(&args).await.unwrap().parse().unwrap();
        let mut kubelet = Kubelet {
            http: reqwest::Client::builder().no_proxy().timeout(PROBE_LIMIT).build().unwrap(),
            directory: bed.directory().to_owned(),
            pods: Vec::new(),
            books: Mutex::default(),
        };
        for _ in 0..count {
            let pod = bed.pod(OPERATOR_NAMESPACE, DEPLOYMENT).await.unwrap();
            let container = kubelet.container(&pod).unwrap();
            kubelet.pods.push((pod, Mutex::new(container)));
        }
        let pods = Self(Arc::new(kubelet));
        for index in 0..count {
            tokio::spawn(keep(Arc::downgrade(&pods.0), index));
        }
        pods
    }

    pub fn count(&self) -> usize {
        self.0.pods.len()
    }

    /// A login of their ServiceAccount.
    pub fn login(&self) -> Login {
        self.0.pods[0].0.login.clone()
    }

    pub fn pid(&self, index: usize) -> u32 {
        self.0.container_of(index).process.pid()
    }

    /// Waits until all pods are ready, as the kubelet sees it.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        let ready = |index: usize| {
            let mut container = self.0.container_of(index);
            container.ready && container.process.exit_status().is_none()
        };
        let waiting = || (0..self.count()).filter(|index| !ready(*index)).collect::<Vec<_>>();
        let all = async || match waiting() {
            none if none.is_empty() => Ok(()),
            some => Err(format!("pods {some:?} are not\n{}", self.last_words())),
        };
        wait_until(limit, "all pods to be ready", all).await
    }

    /// Waits until one pod leads, by its own metric; which one.
    pub async fn leader(&self) -> usize {
        let leader = wait_until(SOON, "one pod to lead", async || match self.leaders().await[..] {
            [leader] => Ok(leader),
            ref leaders => Err(format!("these do: {leaders:?}")),
        });
        leader.await.unwrap_or_else(|error| panic!("{error}\n{}", self.last_words()))
    }

    async fn leaders(&self) -> Vec<usize> {
        let urls = self.metrics_urls();
        let answers = join_all(urls.iter().map(|url| self.0.get(url))).await;
        let leads = |answer: &Result<String, String>| {
            answer.as_ref().is_ok_and(|text| text.contains("\nrunai_operator_leader 1.0\n"))
        };
        let leaders: Vec<_> = (0..self.count()).filter(|index| leads(&answers[*index])).collect();
        // Asked within seconds of each other: less than lies between the end of one and the begin of another.
        if leaders.len() > 1 {
            self.0.object(format!("pods {leaders:?} lead at the same time"));
        }
        leaders
    }

    /// Ends the leader by SIGKILL. Its container starts again, and nobody works until its Lease has run out.
    pub fn sigkill(&self) {
        let leader = tokio::task::block_in_place(|| Handle::current().block_on(self.leader()));
        let mut container = self.0.container_of(leader);
        container.killed = true;
        container.process.sigkill();
    }

    /// Everything that any process of any pod has logged.
    pub fn logs(&self) -> io::Result<String> {
        let texts: io::Result<Vec<_>> = self.log_files().iter().map(std::fs::read).collect();
        Ok(texts?.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect())
    }

    /// The end of what the two processes have logged that were started last.
    pub fn last_words(&self) -> String {
        let logs = self.log_files();
        let end = |log: &PathBuf| {
            let text = std::fs::read(log).unwrap_or_default();
            format!("--- {}\n{}\n", log.display(), last_lines(&String::from_utf8_lossy(&text)))
        };
        logs[logs.len().saturating_sub(2)..].iter().map(end).collect()
    }

    /// The text of `/metrics` of each, one after the other.
    pub async fn metrics(&self) -> Result<String, String> {
        let urls = self.metrics_urls();
        Ok(try_join_all(urls.iter().map(|url| self.0.get(url))).await?.concat())
    }

    fn metrics_urls(&self) -> Vec<String> {
        self.0.pods.iter().map(|(pod, _)| format!("http://{}/metrics", pod.ports["metrics"])).collect()
    }

    /// Where that is written.
    pub fn log_files(&self) -> Vec<PathBuf> {
        self.0.books().logs.clone()
    }

    /// Objections so far.
    pub fn objections(&self) -> Vec<String> {
        self.0.books().objections.clone()
    }

    /// How often a leader lost its Lease so far.
    pub fn losses(&self) -> usize {
        self.0.books().losses
    }

    /// Ends all pods for good. Returns what they owed and did not do.
    pub fn end(&self) -> Vec<String> {
        for index in 0..self.count() {
            let mut container = self.0.container_of(index);
            self.0.note_end(index, &mut container);
            if !container.over && !container.ready && container.started.elapsed() > SOON {
                self.0.object(format!("pod {index} was not ready at the end"));
            }
            container.over = true;
            container.process.sigkill();
        }
        let panicked = |line: &&str| line.contains("panicked");
        let logs = self.logs().unwrap_or_else(|error| panic!("logs: {error}"));
        let mut books = self.0.books();
        if books.losses > 0 {
            println!("leadership was lost {} times, and the pod started again", books.losses);
        }
        books.objections.extend(logs.lines().filter(panicked).map(|line| format!("a panic: {line}")));
        if books.losses > MOST_LOSSES {
            let times = books.losses;
            books.objections.push(format!("leadership was lost {times} times"));
        }
        std::mem::take(&mut books.objections)
    }
}

/// Looks after one pod until all of them are dropped.
async fn keep(kubelet: Weak<Kubelet>, index: usize) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(kubelet) = kubelet.upgrade() else { return };
        if let Some(started) = kubelet.keep_running(index) {
            kubelet.probe(index, started).await;
        }
    }
}

impl Kubelet {
    /// Starts the container of a pod.
    fn container(&self, pod: &Pod) -> Result<Container, Error> {
        let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
        let process = OperatorProcess::start_pod(binary, pod, &self.directory)?;
        self.books().logs.push(process.log_file().to_owned());
        Ok(Container { process, started: Instant::now(), ready: false, failures: 0, killed: false, over: false })
    }

    /// Starts a container again that has ended. When the one that runs was started; `None` when all is over.
    fn keep_running(&self, index: usize) -> Option<Instant> {
        let mut container = self.container_of(index);
        if container.over {
            return None;
        }
        if self.note_end(index, &mut container) {
            match self.container(&self.pods[index].0) {
                Ok(next) => *container = next,
                Err(error) => {
                    self.object(format!("pod {index} could not be started again: {error}"));
                    container.over = true;
                }
            }
        }
        Some(container.started)
    }

    /// Whether the container has ended. An end that nobody asked for and that is not by design is an objection.
    fn note_end(&self, index: usize, container: &mut Container) -> bool {
        let Some(status) = container.process.exit_status() else { return false };
        if !container.killed && !container.over {
            let log = container.process.logs().unwrap_or_default();
            if lost_leadership(status, &log) {
                self.books().losses += 1;
            } else {
                self.object(format!("pod {index} ended: {status}; the end of its log:\n{}", last_lines(&log)));
            }
        }
        true
    }

    /// Asks the probes of the container that was started then, unless another one has taken its place meanwhile.
    async fn probe(&self, index: usize, started: Instant) {
        let urls = self.pods[index].0.probes.values();
        let answer = try_join_all(urls.map(|url| self.get(url))).await;
        let mut container = self.container_of(index);
        if container.over || container.started != started || container.process.exit_status().is_some() {
            return;
        }
        match answer {
            Ok(_) => (container.ready, container.failures) = (true, 0),
            Err(error) if container.ready => {
                container.failures += 1;
                if container.failures == PROBE_FAILURES {
                    self.object(format!("pod {index} was ready and does not answer its probes any more: {error}"));
                }
            }
            Err(_) => {}
        }
    }

    async fn get(&self, url: &str) -> Result<String, String> {
        let answer = async { self.http.get(url).send().await?.error_for_status()?.text().await };
        answer.await.map_err(|error: reqwest::Error| format!("{url}: {error:?}"))
    }

    fn object(&self, objection: String) {
        self.books().objections.push(objection);
    }

    fn container_of(&self, index: usize) -> MutexGuard<'_, Container> {
        self.pods[index].1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a leader has ended as it must when it could not renew its Lease.
fn lost_leadership(status: ExitStatus, log: &str) -> bool {
    status.code() == Some(1) && log.lines().last().is_some_and(|line| line.contains(LOST))
}

fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(25).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
