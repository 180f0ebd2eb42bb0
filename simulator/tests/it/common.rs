//! A simulator with a client, and small shorthands.

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use runai_simulator::{Config, Profile, Simulator};
use serde_json::{Value, json};

pub(crate) struct Api {
    pub(crate) sim: Simulator,
    pub(crate) client: Client,
    pub(crate) token: String,
}

/// A reply read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

pub(crate) fn install_provider() {
    // Another test of this process may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

impl Api {
    pub(crate) async fn start(config: Config) -> Self {
        install_provider();
        let sim = Simulator::start(config).unwrap();
        let client =
            Client::builder().pool_max_idle_per_host(0).redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut api = Self { sim, client, token: String::new() };
        api.log_in().await;
        api
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self::start(config).await
    }

    pub(crate) async fn profile(profile: Profile) -> Self {
        Self::start(Config::for_profile(profile)).await
    }

    pub(crate) async fn log_in(&mut self) {
        self.token = self.fresh_token().await;
    }

    pub(crate) async fn fresh_token(&self) -> String {
        let body = json!({"grantType": "app_token", "AppId": "operator", "AppSecret": "operator-secret"});
        let reply = self.client.post(self.at("/api/v1/token")).json(&body).send().await.unwrap();
        let reply: Value = reply.json().await.unwrap();
        reply["accessToken"].as_str().unwrap().to_owned()
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.sim.url())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.at(path)).bearer_auth(&self.token)
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// Creates a cluster and returns its path.
    pub(crate) async fn create(&self, name: &str) -> String {
        self.create_with(json!({"name": name})).await
    }

    pub(crate) async fn create_with(&self, body: Value) -> String {
        let answer = self.post("/api/v1/clusters", body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        format!("/api/v1/clusters/{}", answer.body["uuid"].as_str().unwrap())
    }

    /// Names in the list, in its order.
    pub(crate) async fn names(&self, query: &str) -> Vec<String> {
        let answer = self.get(&format!("/api/v1/clusters{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let clusters = answer.body.as_array().unwrap();
        clusters.iter().map(|cluster| cluster["name"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
}

/// The uuid at the end of a cluster's path.
pub(crate) fn uuid_of(path: &str) -> uuid::Uuid {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

/// A configuration whose clock stands still until it is advanced.
pub(crate) fn manual() -> Config {
    Config { clock: runai_simulator::ClockMode::Manual, ..Config::default() }
}
