//! Publishing Events. Owns that a failure to publish never fails a pass.

use std::sync::Mutex;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::debug;

use crate::api::FIELD_MANAGER;
use crate::domain::EventNote;

use super::calls::{DEADLINE, on_line};
use super::sync::lock;

/// The API refuses notes of more than 1024 bytes.
const LONGEST_NOTE: usize = 1000;

/// kube's recorder remembers every Event for six minutes, several kB each, to count repeats. After so many a new one
/// begins: a mass of first times has no repeats worth the memory.
const REMEMBERED: usize = 100;

/// Publishes in the background.
pub(crate) struct Events {
    client: Client,
    /// And how many Events it may have in memory.
    recorder: Mutex<(Recorder, usize)>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        Self { recorder: Mutex::new((new_recorder(&client), 0)), client }
    }

    fn recorder(&self) -> Recorder {
        let mut current = lock(&self.recorder);
        if current.1 >= REMEMBERED {
            *current = (new_recorder(&self.client), 0);
        }
        current.1 += 1;
        current.0.clone()
    }

    /// Publishes `note` about `object`.
    pub(crate) fn publish(&self, object: ObjectReference, note: EventNote, action: &'static str) {
        let recorder = self.recorder();
        tokio::spawn(async move {
            let EventNote { warning, reason, mut message } = note;
            message.truncate(message.floor_char_boundary(LONGEST_NOTE));
            let event = Event {
                type_: if warning { EventType::Warning } else { EventType::Normal },
                reason,
                note: Some(message),
                action: action.to_owned(),
                secondary: None,
            };
            match tokio::time::timeout(DEADLINE, on_line(recorder.publish(&event, &object))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "Event not published"),
                Err(_elapsed) => debug!("Event not published in time"),
            }
        });
    }
}

fn new_recorder(client: &Client) -> Recorder {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: std::env::var("POD_NAME").ok() };
    Recorder::new(client.clone(), reporter)
}
