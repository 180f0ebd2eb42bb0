//! What a pass does about the Secrets, one call at a time: see the module for what it mirrors.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::install::{Answered, Failed, Timing, decide, fresh_for, left_over, observes, token_age};
use crate::domain::{ClusterUuid, InstallCase, InstallSpec, InstallStep, Reason};
use crate::explore::Next;
use crate::rules::Breach;

use super::press::Press;
use super::rules;
use super::scenes::{Mistake, Scene};
use super::state::{Answer, Data, NONE, Object, Pass, Process, SHELVES, Said, Secret, Stage, State, Value, shelves};

const NAMES: [&str; SHELVES] = ["a", "b", "a-bootstrap", "b-bootstrap"];
/// So many writes are a fight here; in the operator there are more.
const FIGHT: u8 = 3;

/// What becomes of the calls of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They work.
    Works,
    /// They take no effect: an error, no answer, or half of one, which counts as none.
    Fails,
    /// It took effect, and the answer is lost.
    AnswerLost,
}

/// What the passes ask for.
pub struct Core {
    specs: [InstallSpec; 2],
}

impl Core {
    pub(crate) fn new() -> Self {
        let spec = |name: &str| InstallSpec {
            secret_name: name.to_owned(),
            remote_url: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        };
        Self { specs: [spec(NAMES[0]), spec(NAMES[1])] }
    }
}

/// A call that failed.
struct Failure;

/// One step of one process, in the making.
pub(crate) struct Turn<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) core: &'a Core,
    pub(crate) state: State,
    pub(crate) process: usize,
    pub(crate) outcome: Outcome,
    called: bool,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(scene: &'a Scene, core: &'a Core, state: &State, process: usize, outcome: Outcome) -> Self {
        Self { scene, core, state: *state, process, outcome, called: false }
    }

    fn me(&mut self) -> &mut Process {
        &mut self.state.processes[self.process]
    }

    fn pass(&self) -> Pass {
        self.state.processes[self.process].pass
    }

    fn becomes(&mut self, stage: Stage) {
        self.me().pass.stage = stage;
    }

    /// Carries out one step. `None`: there is none, or nothing in it that could fail.
    pub(crate) fn step(mut self) -> Next<State> {
        if self.outcome != Outcome::Works {
            self.state.left.loss = self.state.left.loss.checked_sub(1)?;
        }
        if self.pass().stage == Stage::Off {
            self.begin()?;
        }
        let done = match self.pass().stage {
            Stage::Off => Ok(()),
            Stage::Publish => self.publish(),
            Stage::Reads(answer) => self.receive(answer),
            Stage::Makes(at, data) => self.write(usize::from(at), Secret::Missing, data),
            Stage::Unpublish | Stage::Tidy => self.clear(),
            Stage::Say(said, told) => self.say(said, told),
        };
        if let Err(breach) = done {
            return Some(Err(breach));
        }
        if self.pass().stage == Stage::Off {
            self.me().pass = Pass::default();
        }
        (self.outcome == Outcome::Works || self.called).then_some(Ok(self.state))
    }

    /// The answer of a call that changes nothing.
    fn reads(&mut self) -> Result<(), Failure> {
        self.called = true;
        if self.outcome == Outcome::Works { Ok(()) } else { Err(Failure) }
    }

    fn begin(&mut self) -> Option<()> {
        let of = self.state.processes[self.process];
        of.leads.then_some(())?;
        let view = of.view;
        let seen = if view.own == NONE { 0 } else { view.own };
        let record = self.state.records[usize::from(seen)];
        let owns = view.own != NONE || self.scene.has(Mistake::PublishBeforeOwnership);
        self.me().pass = Pass {
            stage: Stage::Off,
            asked: view.asked,
            own: seen,
            told: view.told,
            waiting: record.waiting,
            info: None,
        };
        let stage = match view.asked {
            0 if view.told == 0 && !of.known.iter().any(|secret| secret.is_ours()) => Stage::Say(Said::Nothing, 0),
            0 => Stage::Unpublish,
            _ if self.scene.observes && !self.scene.has(Mistake::PublishBeforeOwnership) => {
                self.unpublished(observes().reason)
            }
            _ if owns && record.live => Stage::Publish,
            // Nothing is said of publishing: what was published stays, and so does what was said.
            _ if view.said == Said::Published => Stage::Say(Said::Published, view.told),
            _ => Stage::Say(Said::Waits, view.told),
        };
        // Whoever says nothing new does not clear up either.
        let new = stage != Stage::Say(view.said, view.told);
        new.then(|| self.becomes(stage))
    }

    /// What is told where publishing failed: a Secret that was written has to be found again.
    fn unpublished(&self, why: Reason) -> Stage {
        let of = &self.state.processes[self.process];
        let said = match why {
            Reason::SecretConflict => Said::Conflict,
            Reason::InvalidSpec => Said::Observes,
            _ => Said::Waits,
        };
        let written = of.known[shelves(of.pass.asked).0].is_ours();
        let told = if of.pass.told == 0 && written { of.pass.asked } else { of.pass.told };
        Stage::Say(said, told)
    }

    // ---- Secrets ----

    fn watch(&mut self) {
        let listed = self.state.secrets.map(watched);
        let me = self.me();
        if !me.memory.watches {
            me.memory.watches = true;
            me.known = listed;
        }
    }

    fn find(&mut self, at: usize) -> Result<Secret, Failure> {
        self.watch();
        match self.state.processes[self.process].known[at] {
            found @ Secret::Ours { .. } => Ok(found),
            found @ Secret::Foreign if self.scene.has(Mistake::BelieveWhatIsNotWatched) => Ok(found),
            Secret::Foreign | Secret::Missing => {
                self.reads()?;
                let found = self.state.secrets[at];
                self.me().known[at] = found;
                Ok(found)
            }
        }
    }

    fn recall(&mut self, at: usize) -> Result<Secret, Failure> {
        self.watch();
        match self.state.processes[self.process].known[at] {
            Secret::Missing => Ok(Secret::Missing),
            Secret::Ours { .. } | Secret::Foreign => self.find(at),
        }
    }

    fn fits(&self, at: usize, over: Secret) -> bool {
        self.state.secrets[at] == over || self.scene.has(Mistake::NoPrecondition)
    }

    /// Creates, or replaces just what was found.
    fn write(&mut self, at: usize, over: Secret, data: Data) -> Result<(), Breach> {
        self.called = true;
        if self.outcome == Outcome::Fails {
            self.becomes(self.unpublished(Reason::ConnectionFailed));
            return Ok(());
        }
        if !self.fits(at, over) {
            // 409 or 404: it is looked at.
            let found = self.state.secrets[at];
            self.me().known[at] = found;
            self.becomes(Stage::Publish);
            return Ok(());
        }
        rules::of_write(&self.state, self.scene, at, data)?;
        let written = Secret::Ours { data, intact: true, labels: true, locked: false };
        self.state.secrets[at] = written;
        if self.outcome == Outcome::AnswerLost {
            self.becomes(self.unpublished(Reason::ConnectionFailed));
            return Ok(());
        }
        let me = self.me();
        me.known[at] = written;
        me.memory.writes = (me.memory.writes + 1).min(FIGHT);
        me.pass.stage = Stage::Publish;
        Ok(())
    }

    /// Deletes just what was found.
    fn delete(&mut self, at: usize, found: Secret) -> Result<Result<(), Failure>, Breach> {
        self.called = true;
        self.me().known[at] = Secret::Missing;
        let there = self.state.secrets[at] != Secret::Missing;
        if self.outcome == Outcome::Fails || (there && !self.fits(at, found)) {
            return Ok(Err(Failure));
        }
        if there {
            rules::of_removal(&self.state, self.process, at)?;
            self.state.secrets[at] = Secret::Missing;
        }
        Ok(if self.outcome == Outcome::Works { Ok(()) } else { Err(Failure) })
    }

    // ---- publish ----

    fn publish(&mut self) -> Result<(), Breach> {
        let pass = self.pass();
        let (main_at, bootstrap_at) = shelves(pass.asked);
        let found = self.find(main_at).and_then(|main| Ok((main, self.recall(bootstrap_at)?)));
        let Ok((main, bootstrap)) = found else {
            self.becomes(self.unpublished(Reason::ConnectionFailed));
            return Ok(());
        };
        let press = Press { scene: self.scene, uuid: pass.own };
        let timing = self.timing(pass, main, bootstrap);
        let case = InstallCase {
            asked: &self.core.specs[main_at],
            main: press.main_shelf(main, pass.info),
            has_secret: timing.has_secret,
            bootstrap: press.bootstrap_shelf(bootstrap, pass.info),
            token_due: timing.is_token_due(),
            waiting: timing.waiting,
            due: timing.is_due(),
            answer: pass.info.map(|info| Answered { token: info.token.is_some() }),
            unread: timing.holds_back().then(observes).map(|said| crate::domain::Trouble {
                reason: Reason::ConnectionFailed,
                stalled: false,
                ..said
            }),
            fought: self.state.processes[self.process].memory.writes >= FIGHT,
        };
        match decide(&case) {
            InstallStep::Read => {
                let answer = self.state.answer(pass.own);
                self.becomes(Stage::Reads(answer));
            }
            InstallStep::Rest(Ok(())) => {
                let pause = timing.failed.map(|failed| failed.left);
                let pause = pause.filter(|_| self.scene.has(Mistake::WaitForAPauseThatIsOver));
                if pause.or(timing.next_look(true)).is_some_and(|wait| wait.is_zero()) {
                    return Err(Breach::of("I8", "all is well, and the next pass begins at once".to_owned()));
                }
                self.becomes(Stage::Say(Said::Published, pass.asked));
            }
            InstallStep::Rest(Err(trouble)) => self.becomes(self.unpublished(trouble.reason)),
            InstallStep::WriteMain => self.put(main_at, main, press.main(main, pass.info))?,
            InstallStep::WriteBootstrap => {
                self.put(bootstrap_at, bootstrap, press.bootstrap(bootstrap, pass.info))?;
            }
        }
        Ok(())
    }

    fn timing(&mut self, pass: Pass, main: Secret, bootstrap: Secret) -> Timing {
        let forgets = self.scene.has(Mistake::NeverReadAgain);
        let memory = &mut self.me().memory;
        memory.read = memory.read.max(1);
        let read = if forgets { 0 } else { memory.read - 1 };
        let age = |hours: u8| Duration::from_secs(u64::from(hours) * 3600);
        let now = Timestamp::from_second(1_000_000_000).unwrap_or_default();
        let ago = |hours: u8| now.checked_sub(age(hours)).unwrap_or_default();
        let life = |token: Value| (ago(token.age), ago(token.age).checked_add(age(2)).unwrap_or_default());
        let token = bootstrap.intact().and_then(|data| data.token).map(life);
        Timing {
            has_secret: main.intact().is_some_and(|data| data.secret.is_some()),
            waiting: pass.waiting,
            requested: false,
            fresh: fresh_for(ClusterUuid(uuid::Uuid::nil()), ago(read), now),
            token: token.map(|(issued, expires)| token_age(issued, expires, now)),
            failed: memory.failed.map(|(lasts, same_spec)| Failed { left: age(u8::from(lasts)), same_spec }),
        }
    }

    fn put(&mut self, at: usize, over: Secret, target: Option<Data>) -> Result<(), Breach> {
        let Some(data) = target else { return Err(Breach::bound("there is nothing to write")) };
        if !self.me().leads {
            self.becomes(Stage::Off);
            return Ok(());
        }
        if !matches!(over, Secret::Ours { locked: true, .. }) {
            return self.write(at, over, data);
        }
        match self.delete(at, over)? {
            Ok(()) => self.becomes(Stage::Makes(u8::try_from(at).unwrap_or_default(), data)),
            Err(Failure) if self.outcome == Outcome::Works => {
                let found = self.state.secrets[at];
                self.me().known[at] = found;
            }
            Err(Failure) => self.becomes(self.unpublished(Reason::ConnectionFailed)),
        }
        Ok(())
    }

    fn receive(&mut self, answer: Option<Answer>) -> Result<(), Breach> {
        let answer = self.reads().ok().and(answer);
        let empty = self.scene.has(Mistake::TakeNoAnswerForAnEmptyOne).then_some(Answer { secret: None, token: None });
        let me = self.me();
        match answer.or(empty) {
            Some(info) => {
                me.pass.info = Some(info);
                (me.memory.read, me.memory.failed) = (1, None);
            }
            None => me.memory.failed = Some((true, true)),
        }
        me.pass.stage = Stage::Publish;
        Ok(())
    }

    // ---- what is told, and what goes ----

    fn say(&mut self, said: Said, told: u8) -> Result<(), Breach> {
        let view = self.me().view;
        let next = Object { said, told, ..view };
        let tidies = said == Said::Published || (self.scene.has(Mistake::RemoveFirst) && self.pass().asked > 0);
        if next != view {
            self.called = true;
            if self.outcome == Outcome::Fails || self.state.object != view {
                self.becomes(Stage::Off);
                return Ok(());
            }
            self.state.object = next;
            if self.outcome == Outcome::AnswerLost {
                self.becomes(Stage::Off);
                return Ok(());
            }
            self.me().view = next;
        }
        self.becomes(if tidies { Stage::Tidy } else { Stage::Off });
        Ok(())
    }

    /// Removes one Secret that must go, or ends.
    fn clear(&mut self) -> Result<(), Breach> {
        let pass = self.pass();
        self.watch();
        let known = self.state.processes[self.process].known;
        let known = NAMES.iter().zip(known).filter(|(_, secret)| secret.is_ours()).map(|(name, _)| (*name).to_owned());
        let name = |asked: u8| Some(NAMES[shelves(asked).0]);
        let told = if pass.told == 0 { None } else { name(pass.told) };
        let asked = if pass.asked == 0 { None } else { Some(&self.core.specs[shelves(pass.asked).0]) };
        let mut names = left_over(asked, told, known.collect());
        if self.scene.has(Mistake::ForgetToMove) && pass.asked > 0 {
            names.clear();
        }
        for name in names {
            let at = NAMES.iter().position(|known| *known == name).unwrap_or_default();
            let Ok(found) = self.find(at) else { return self.cleared(false) };
            let foreign = self.scene.has(Mistake::RemoveByName) && found == Secret::Foreign;
            if !found.is_ours() && !foreign {
                continue;
            }
            if !self.me().leads || self.delete(at, found)?.is_err() {
                return self.cleared(false);
            }
            return Ok(());
        }
        self.cleared(true)
    }

    fn cleared(&mut self, all: bool) -> Result<(), Breach> {
        let Pass { stage, told, .. } = self.pass();
        let next = match (stage, all) {
            (Stage::Unpublish, true) => Stage::Say(Said::Nothing, 0),
            (Stage::Unpublish, false) => Stage::Say(Said::Nothing, told),
            _ => Stage::Off,
        };
        self.becomes(next);
        Ok(())
    }
}

/// What the watch tells of a Secret.
pub(crate) fn watched(secret: Secret) -> Secret {
    if secret.is_ours() { secret } else { Secret::Missing }
}
