//! One round: the schedule under way, healing, the goals, the calm, the end of all objects, and the judgement.
//!
//! Owns the order. Must not know how a fault works or what an invariant says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use k8s_openapi::api::core::v1::Secret;
use runai_simulator::{JournalEntry, Operation, UniqueNames};
use serde_json::{Value, json};

use crate::arena::{Arena, CREDENTIALS, LONG};
use crate::books::{Books, line};
use crate::deeds::Users;
use crate::oracle::{self, Look, Violation, broken};
use crate::remote::BODY_CANARY;
use crate::schedule::{Event, Fault, Schedule, What};
use crate::strike::Strikes;

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(200);
/// Events are published a little after the status they speak of.
const AFTERMATH: Duration = Duration::from_millis(800);
/// So long nothing may be written once all objects are where they belong.
const CALM: Duration = Duration::from_secs(2);

/// What came of a round.
#[derive(Debug)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// From healing until all objects were where they belong.
    pub settled: Duration,
    pub took: Duration,
    pub objects: usize,
    /// How often each fault took effect.
    pub hits: BTreeMap<&'static str, u64>,
    /// POST, PUT and DELETE requests.
    pub changes: usize,
    /// For whoever has to find out: the end of it.
    pub details: String,
}

pub struct Round<'a> {
    arena: &'a mut Arena,
    schedule: &'a Schedule,
    books: Books,
    users: Users,
    strikes: Strikes,
    from: u64,
    violations: BTreeSet<Violation>,
    /// As last seen.
    secrets: Vec<Secret>,
}

impl<'a> Round<'a> {
    pub async fn play(arena: &'a mut Arena, schedule: &'a Schedule) -> Verdict {
        let started = Instant::now();
        arena.simulator.configure(|config| {
            config.names.unique = if schedule.unique_names { UniqueNames::On } else { UniqueNames::Off };
            config.agent.auto_start_seconds = schedule.agents.then_some(0.3);
            config.profile = schedule.profile;
            config.seed = schedule.seed;
        });
        arena.simulator.clear_journal();
        let from = arena.simulator.last_seq();
        let users = Users::of(schedule);
        let (books, strikes) = (Books::default(), Strikes::default());
        let mut round =
            Self { arena, schedule, books, users, strikes, from, violations: BTreeSet::new(), secrets: Vec::new() };
        round.users.seed_foreign(round.arena, &mut round.books);
        round.run(&schedule.events).await;
        let mut rng = Rng::with_seed(schedule.seed ^ 1);
        round.strikes.heal(round.arena, &mut rng).await;
        let healed = Instant::now();
        let settled = round.settle().await;
        let settled_after = healed.elapsed();
        if settled {
            round.stay_calm().await;
        }
        round.delete_all().await;
        if !schedule.farewell.is_empty() {
            round.run(&schedule.farewell).await;
            round.strikes.heal(round.arena, &mut rng).await;
        }
        round.wait_until_empty().await;
        round.judge().await;
        let mutations = round.journal().iter().filter(|entry| is_change(entry)).count();
        let details = if round.violations.is_empty() { String::new() } else { round.details().await };
        Verdict {
            violations: round.violations.into_iter().collect(),
            settled: settled_after,
            took: started.elapsed(),
            objects: round.books.lives.len(),
            hits: round.strikes.hits,
            changes: mutations,
            details,
        }
    }

    async fn run(&mut self, events: &[Event]) {
        let begun = Instant::now();
        for event in events {
            while begun.elapsed() < event.at {
                let left = event.at.saturating_sub(begun.elapsed());
                tokio::time::sleep(left.min(Duration::from_millis(50))).await;
                self.strikes.undo(self.arena, false).await;
            }
            match &event.what {
                What::Deed(deed) => self.users.carry_out(*deed, self.arena, &mut self.books).await,
                What::Fault(fault) => {
                    self.strikes.strike(fault, self.arena, &mut self.books, &self.users).await;
                }
            }
            self.users.make_again(self.arena, &mut self.books).await;
            self.look().await;
        }
        while let Some((at, _)) = self.strikes.open.iter().max_by_key(|(at, _)| *at).copied() {
            self.look().await;
            tokio::time::sleep(at.saturating_duration_since(Instant::now()).min(GLANCE)).await;
            self.strikes.undo(self.arena, false).await;
        }
    }

    /// Looks at both sides, and checks what must hold at every moment.
    async fn look(&mut self) -> Vec<Value> {
        let objects = self.arena.objects().await;
        self.secrets = self.arena.secrets().await;
        // Whatever is sent from here on was sent after status said what it says.
        let seq = self.arena.simulator.last_seq();
        let second = self.schedule.has(|fault| matches!(fault, Fault::Second));
        for life in &mut self.books.lives {
            let Some(object) = objects.iter().find(|object| object["metadata"]["uid"] == *life.uid) else {
                life.gone = true;
                continue;
            };
            if life.foreign.is_some() && life.foreign == oracle::uuid(object) {
                life.took_over = life.foreign;
            }
            let seen = object["status"]["observedGeneration"].as_i64();
            let told = oracle::condition(object, "Suspended").is_some() && seen >= life.suspended;
            let open = life.quiet.last().is_some_and(|(_, until)| until.is_none());
            // Another process may still be behind.
            if life.suspended.is_some() && told && !open && !second {
                life.quiet.push((seq, None));
            }
        }
        let (records, makers) = (self.arena.simulator.clusters(), self.books.makers(&self.journal()));
        let look = Look { objects: &objects, records: &records, makers: &makers, secrets: &self.secrets };
        self.violations.extend(oracle::at_any_time(&self.books, &look));
        self.violations.extend(oracle::published(&self.books, &look));
        objects
    }

    /// Waits until every object is where it belongs.
    async fn settle(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            let again = self.users.make_again(self.arena, &mut self.books).await;
            let objects = self.look().await;
            let missing = self.missing(&objects);
            if again && missing.is_empty() {
                return true;
            }
            if begun.elapsed() > LONG {
                self.violations.extend(missing.into_iter().map(|what| broken("I6", what)));
                if !again {
                    self.violations.insert(broken("I6", "an object cannot be made again"));
                }
                return false;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn missing(&self, objects: &[Value]) -> Vec<String> {
        let (records, makers) = (self.arena.simulator.clusters(), self.books.makers(&self.journal()));
        let look = Look { objects, records: &records, makers: &makers, secrets: &self.secrets };
        let goal = |life| oracle::goal(life, &look, self.schedule, &self.books).err();
        let lives = self.books.lives.iter();
        lives.filter_map(|life| Some(format!("{} ({:?}): {}", life.object, life.role, goal(life)?))).collect()
    }

    /// Nothing is written any more.
    async fn stay_calm(&mut self) {
        tokio::time::sleep(AFTERMATH).await;
        let held = self.arena.secrets().await;
        let (before, told) = (versions(&self.arena.objects().await), versions(&self.arena.told().await));
        let seq = self.arena.simulator.last_seq();
        tokio::time::sleep(CALM).await;
        let after = self.arena.objects().await;
        if versions(&after) != before {
            self.violations.insert(broken("I8", "objects were written in steady state"));
        }
        if versions(&self.arena.told().await) != told {
            self.violations.insert(broken("I8", "Events were written in steady state"));
        }
        if self.arena.secrets().await != held {
            self.violations.insert(broken("I8", "Secrets were written in steady state"));
        }
        let journal = self.arena.simulator.journal_since(seq);
        for entry in journal.iter().filter(|entry| is_change(entry)) {
            self.violations.insert(broken("I8", format!("sent in steady state: {}", line(entry))));
        }
        // One list per interval of 5 s, and perhaps a token.
        if journal.len() > 3 {
            self.violations.insert(broken("I8", format!("{} requests in {CALM:?} of steady state", journal.len())));
        }
    }

    async fn delete_all(&mut self) {
        let end = self.arena.simulator.last_seq();
        for life in self.books.lives.iter_mut().filter(|life| !life.gone && life.deleted.is_none()) {
            life.deleted = Some(end);
        }
        for object in self.arena.objects().await {
            self.arena.delete(object["metadata"]["name"].as_str().unwrap()).await;
        }
    }

    /// Where an object is stalled with good reason a person does what its message says.
    async fn wait_until_empty(&mut self) {
        let begun = Instant::now();
        loop {
            let objects = self.look().await;
            if objects.is_empty() {
                return;
            }
            for object in &objects {
                self.help(object).await;
            }
            if begun.elapsed() > LONG {
                let left: Vec<_> = objects.iter().map(brief).collect();
                self.violations.insert(broken("I6", format!("objects do not go: {}", left.join("; "))));
                return;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn help(&mut self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match oracle::stalled(object).as_deref() {
            // What may be the object's and what may not, a person can tell, and here wants none of them.
            Some("CreateAmbiguous") => {
                let lives = self.books.lives.iter().filter(|life| life.object == name);
                let names: Vec<_> = lives.flat_map(|life| &life.names).cloned().collect();
                for record in self.arena.simulator.live_clusters().iter().filter(|one| names.contains(&one.name)) {
                    let _ = self.arena.simulator.remove(record.uuid);
                }
            }
            Some("AbsenceUnproven") => {
                self.arena.patch(&name, &json!({ "spec": { "deletion": { "policy": "Orphan" } } })).await;
            }
            Some(_) | None => {}
        }
    }

    async fn judge(&mut self) {
        let journal = self.journal();
        self.violations.extend(oracle::requests(&self.books, &journal));
        let processes = if self.schedule.has(|fault| matches!(fault, Fault::Second)) { 2 } else { 1 };
        self.violations.extend(oracle::rate(&journal, &self.arena.started, processes));
        let (records, makers) = (self.arena.simulator.clusters(), self.books.makers(&journal));
        let look = Look { objects: &[], records: &records, makers: &makers, secrets: &[] };
        self.violations.extend(oracle::left_behind(&self.books, &look));
        if self.arena.simulator.pending_commits() > 0 {
            self.violations.insert(broken("I3", "a late commit is still to come after its object has gone"));
        }
        // What others made, and what was to stay, does not concern the next round.
        for record in self.arena.simulator.live_clusters() {
            let _ = self.arena.simulator.remove(record.uuid);
        }
        self.violations.extend(self.strikes.complaints.drain(..).map(|what| broken("process", what)));
        if self.arena.elsewhere.1.swap(0, std::sync::atomic::Ordering::Relaxed) > 0 {
            self.violations.insert(broken("I7", "a redirect was followed"));
        }
        self.search_for_secrets().await;
        self.arena.forget_events().await;
        self.arena.forget_secrets().await;
    }

    /// I7: in the log, and in everything that was written to the Kubernetes API about objects.
    async fn search_for_secrets(&mut self) {
        let mut text = self.arena.new_log();
        if text.contains("panicked at") {
            self.violations.insert(broken("process", "a panic is in the log"));
        }
        for event in self.arena.told().await {
            let _ = write!(text, "{event}");
        }
        let mut secrets: Vec<String> = CREDENTIALS.iter().map(|(_, secret)| (*secret).to_owned()).collect();
        // Every token is a JWT, and they all begin alike.
        secrets.extend([BODY_CANARY.to_owned(), "eyJ".to_owned()]);
        secrets.extend(self.arena.simulator.clusters().into_iter().map(|record| record.client_secret));
        for secret in secrets.iter().filter(|secret| text.contains(*secret)) {
            self.violations.insert(broken("I7", format!("{secret:?} is in a log or an Event")));
        }
    }

    fn journal(&self) -> Vec<JournalEntry> {
        self.arena.simulator.journal_since(self.from)
    }

    async fn details(&self) -> String {
        let mut text = self.schedule.to_string();
        let _ = writeln!(text, "books:");
        for life in &self.books.lives {
            let _ = writeln!(text, "  {life:?}");
        }
        let _ = writeln!(text, "journal:");
        for entry in self.journal().iter().filter(|entry| is_change(entry) || !entry.faults.is_empty()) {
            let _ = writeln!(text, "  {}", line(entry));
        }
        for object in self.arena.objects().await {
            let _ = writeln!(text, "left: {}", brief(&object));
        }
        text
    }
}

fn is_change(entry: &JournalEntry) -> bool {
    entry.operation.is_some_and(Operation::is_mutation)
}

fn versions(objects: &[Value]) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = objects.iter().map(|object| &object["metadata"]);
    metadata.map(|metadata| (text(&metadata["name"]), text(&metadata["resourceVersion"]))).collect()
}

fn brief(object: &Value) -> String {
    let metadata = &object["metadata"];
    json!({ "name": metadata["name"], "deleted": metadata["deletionTimestamp"], "annotations": metadata["annotations"],
        "finalizers": metadata["finalizers"], "spec": object["spec"], "status": object["status"] })
    .to_string()
}
