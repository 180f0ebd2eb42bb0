//! A control plane with two faces: an honest one that keeps registrations, and a hostile one.
//!
//! Owns the honest API in its smallest form, which face is shown, and what was asked. Must not know the operator.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client_support::{Act, Hostile, Seen, http, token_reply};

/// One registration.
#[derive(Clone, Debug)]
pub struct Record {
    pub uuid: String,
    pub name: String,
    pub domain: Option<String>,
    pub created: Timestamp,
}

impl Record {
    pub fn json(&self) -> Value {
        json!({
            "uuid": self.uuid, "tenantId": 1001, "name": self.name, "domain": self.domain,
            "createdAt": self.created.to_string(), "status": { "state": "WaitingToConnect" },
        })
    }
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    /// Names of committed creates.
    created: Vec<String>,
    deleted: Vec<String>,
    made: usize,
    /// Honest lists that still fail: the operator shall notice that things have changed.
    hiccups: usize,
}

/// What is answered while the face is hostile; `None`: the honest answer.
pub type Face = Arc<dyn Fn(&Honest, &Seen, usize) -> Option<Act> + Send + Sync>;

/// The honest side.
#[derive(Clone)]
pub struct Honest {
    /// Fifth group of the uuids, so that no two control planes share one.
    number: u16,
    state: Arc<Mutex<State>>,
}

pub struct Plane {
    pub server: Hostile,
    pub honest: Honest,
    hostile: Arc<AtomicBool>,
}

impl Plane {
    pub async fn start(number: u16, face: Face) -> Self {
        let honest = Honest { number, state: Arc::default() };
        let hostile = Arc::new(AtomicBool::new(false));
        let (side, shown) = (honest.clone(), hostile.clone());
        let server = Hostile::start(move |seen, earlier| {
            let evil = if shown.load(Ordering::SeqCst) { face(&side, seen, earlier) } else { None };
            Some(evil.unwrap_or_else(|| side.answer(seen)))
        });
        Self { server: server.await, honest, hostile }
    }

    pub fn turn_hostile(&self) {
        self.hostile.store(true, Ordering::SeqCst);
    }

    pub fn turn_honest(&self) {
        self.honest.state.lock().unwrap().hiccups = 1;
        self.hostile.store(false, Ordering::SeqCst);
    }
}

fn reply(code: u16, body: &Value) -> Act {
    let body = if code == 204 { String::new() } else { body.to_string() };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).unwrap();
    Act::Reply(http(code, &[("content-type", "application/json"), ("date", &date)], body))
}

fn error(code: u16) -> Act {
    reply(code, &json!({ "code": code, "message": "no" }))
}

impl Honest {
    pub fn records(&self) -> Vec<Record> {
        self.state.lock().unwrap().records.clone()
    }

    /// How many creates of this name were committed.
    pub fn creates(&self, name: &str) -> usize {
        self.state.lock().unwrap().created.iter().filter(|created| *created == name).count()
    }

    pub fn deletes(&self) -> Vec<String> {
        self.state.lock().unwrap().deleted.clone()
    }

    pub fn list(&self) -> Vec<Value> {
        self.records().iter().map(Record::json).collect()
    }

    fn answer(&self, seen: &Seen) -> Act {
        let path = seen.path.split('?').next().unwrap_or_default();
        let id = path.strip_prefix("/api/v1/clusters/");
        match (seen.method.as_str(), id) {
            ("POST", None) if path.ends_with("/token") => Act::Reply(token_reply()),
            ("GET", None) => {
                let mut state = self.state.lock().unwrap();
                if state.hiccups > 0 {
                    state.hiccups -= 1;
                    return error(500);
                }
                drop(state);
                reply(200, &json!(self.list()))
            }
            ("GET", Some("minimal")) => error(404),
            ("POST", None) => self.create(&serde_json::from_str(&seen.body).unwrap()),
            (method, Some(id)) => self.one(method, id, &seen.body),
            _ => error(405),
        }
    }

    fn create(&self, body: &Value) -> Act {
        let mut state = self.state.lock().unwrap();
        let (name, domain) = (body["name"].as_str().unwrap().to_owned(), body["domain"].as_str().map(str::to_owned));
        if state.records.iter().any(|record| record.name == name) {
            return error(409);
        }
        state.made += 1;
        let uuid = format!("00000000-0000-4000-{:04x}-{:012x}", 0x8000 | self.number, state.made);
        let record = Record { uuid, name: name.clone(), domain, created: Timestamp::now() };
        let shown = record.json();
        state.records.push(record);
        state.created.push(name);
        drop(state);
        reply(201, &shown)
    }

    fn one(&self, method: &str, id: &str, body: &str) -> Act {
        let mut state = self.state.lock().unwrap();
        let Some(at) = state.records.iter().position(|record| record.uuid == id) else { return error(404) };
        match method {
            "GET" => reply(200, &state.records[at].json()),
            "PUT" => {
                let body: Value = serde_json::from_str(body).unwrap();
                body["name"].as_str().unwrap().clone_into(&mut state.records[at].name);
                reply(204, &Value::Null)
            }
            "DELETE" => {
                let gone = state.records.remove(at);
                state.deleted.push(gone.name);
                reply(204, &Value::Null)
            }
            _ => error(405),
        }
    }
}
