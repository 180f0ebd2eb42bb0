//! Publishing Events. Owns that a failure to publish never fails a pass, and that the end of the process waits for those
//! under way.

use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::watch;
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

/// The longest that the end of the process waits for Events under way.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Publishes in the background.
pub(crate) struct Events {
    client: Client,
    /// And how many Events it may have in memory.
    recorder: Mutex<(Recorder, usize)>,
    under_way: watch::Sender<usize>,
}

/// One Event under way, until it is dropped.
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    pub(crate) fn new(client: Client) -> Self {
        Self { recorder: Mutex::new((new_recorder(&client), 0)), client, under_way: watch::Sender::new(0) }
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
        let under_way = UnderWay::new(&self.under_way);
        tokio::spawn(async move {
            let _under_way = under_way;
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

    /// Waits, not for long, until nothing is under way: a runtime that ends drops what it still has to say.
    pub(crate) async fn settle(&self) {
        let mut under_way = self.under_way.subscribe();
        let _ = tokio::time::timeout(LAST_WORDS, under_way.wait_for(|count| *count == 0)).await;
    }
}

fn new_recorder(client: &Client) -> Recorder {
    let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: std::env::var("POD_NAME").ok() };
    Recorder::new(client.clone(), reporter)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::extract::{Json, State};

    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_events_under_way() {
        let heard = Arc::new(AtomicUsize::new(0));
        let slow = async |State(heard): State<Arc<AtomicUsize>>, Json(event): Json<serde_json::Value>| {
            tokio::time::sleep(Duration::from_millis(100)).await;
            heard.fetch_add(1, Ordering::Relaxed);
            Json(event)
        };
        let router = Router::new().fallback(slow).with_state(Arc::clone(&heard));
        let events = Events::new(Client::new(router, "ops"));
        events.settle().await;
        for name in ["a", "b"] {
            let object = ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
            let note = EventNote { warning: false, reason: "Registered".to_owned(), message: "m".to_owned() };
            events.publish(object, note, "Reconcile");
        }
        events.settle().await;
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }
}
