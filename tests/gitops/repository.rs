//! A platform team's Git repository behind http, and a chart repository beside it: what GitOps tools fetch from.
//!
//! Owns the files and the server, which is git's own. Must not know who fetches.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use testbed::{TemporaryDirectory, Testbed};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::files::path;

/// What a fetch may send.
const LONGEST_REQUEST: usize = 16 << 20;
/// The chart repository, among the server's paths and in the directory.
const CHARTS: &str = "charts";
const GIT: &str = "fleet.git";

/// The repository, with the branch `main`. Its server ends when it is dropped.
pub struct Repository {
    directory: Arc<TemporaryDirectory>,
    address: String,
    server: JoinHandle<()>,
}

impl Repository {
    pub async fn start() -> Self {
        let directory = Arc::new(TemporaryDirectory::create().unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(Arc::clone(&directory));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let repository = Self { directory, address, server };
        std::fs::create_dir(repository.files()).unwrap();
        std::fs::create_dir(repository.charts_directory()).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main"]).await;
        repository
    }

    /// Where to clone it from.
    pub fn url(&self) -> String {
        format!("{}/{GIT}", self.address)
    }

    /// The address of the chart repository.
    pub fn charts_url(&self) -> String {
        format!("{}/{CHARTS}", self.address)
    }

    /// A file, as it lies on the user's disk.
    pub fn path(&self, file: &str) -> PathBuf {
        self.files().join(file)
    }

    fn files(&self) -> PathBuf {
        self.directory.path().join(GIT)
    }

    fn charts_directory(&self) -> PathBuf {
        self.directory.path().join(CHARTS)
    }

    /// Takes over a folder of the project, under the same path.
    pub fn copy(&self, folder: &str) {
        copy(&path(folder), &self.files().join(folder));
    }

    /// Changes a file as a person would: this, which occurs in it, for that.
    pub fn edit(&self, file: &str, this: &str, that: &str) {
        let path = self.files().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(this), "{file} has no {this:?}");
        std::fs::write(path, text.replace(this, that)).unwrap();
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.files().join(file), text).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.files().join(file)).unwrap();
    }

    /// Commits all changes; returns the commit's SHA-1.
    pub async fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--message", message]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Puts a version of a chart into the chart repository.
    pub async fn publish(&self, bed: &Testbed, chart: &Path, version: &str) {
        let (chart, charts, url) = (display(chart), display(&self.charts_directory()), self.charts_url());
        for args in [
            &["package", &chart, "--version", version, "--destination", &charts][..],
            &["repo", "index", &charts, "--url", &url],
        ] {
            bed.helm(args).await.unwrap().success("helm", args).unwrap();
        }
    }

    async fn git(&self, args: &[&str]) -> String {
        let mut command = git(&self.files());
        for setting in ["user.name=Platform", "user.email=platform@example.com", "commit.gpgsign=false"] {
            command.args(["-c", setting]);
        }
        let output = command.args(args).output().await.unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// git without anybody's settings.
fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(directory).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.kill_on_drop(true);
    command
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
        return;
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

async fn serve(State(directory): State<Arc<TemporaryDirectory>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    if let Some(name) = path.strip_prefix("charts/") {
        let file = directory.path().join(CHARTS).join(Path::new(name).file_name().unwrap_or_default());
        return std::fs::read(file).map_or_else(|_| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response);
    }
    match path.strip_prefix(GIT) {
        Some(rest) => backend(&directory.path().join(GIT), rest, request).await,
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// `git http-backend`, by the rules of CGI.
async fn backend(files: &Path, rest: &str, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_REQUEST).await.unwrap();
    let mut command = git(files);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", files)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/.git{rest}"))
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", head.method.as_str());
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        let value = head.headers.get(name).map(|value| value.to_str().unwrap());
        command.env(variable, value.unwrap_or_default());
    }
    command.env("CONTENT_LENGTH", body.len().to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let fed = tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.unwrap();
    // git may answer without having read all.
    drop(fed.await);
    answer(&output.stdout)
}

/// Head and body of a CGI program's output.
fn answer(output: &[u8]) -> Response {
    let Some(end) = output.windows(4).position(|four| four == b"\r\n\r\n") else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (head, body) = (String::from_utf8_lossy(&output[..end]), Bytes::copy_from_slice(&output[end + 4..]));
    let mut response = body.into_response();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = value.split(' ').next().unwrap().parse().unwrap();
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            response.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    response
}
