//! The agent of one cluster: when it beats, worked out from the clock when somebody looks.
//!
//! Owns beats and live time. Must not know records, deletion or requests. Nothing runs in the
//! background, so ten thousand agents cost nothing between two reads.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::after;
use crate::report::CachedReport;

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentPhase {
    /// Will run from a time that has not come yet.
    Installing,
    /// Beats.
    Running,
    /// Installed but silent.
    Paused,
}

/// An agent since its last change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    /// Start of the present run; `None` while paused.
    running_since: Option<Timestamp>,
    /// The last beat of earlier runs.
    beat_before: Option<Timestamp>,
    /// Beats for this long, is silent as long, and so on; zero means it beats always.
    flap: SignedDuration,
    /// The control plane refuses its secret: it beats, but nobody hears.
    rejected: bool,
    pub(crate) version: String,
    pub(crate) domain: Option<String>,
    pub(crate) report: CachedReport,
    /// The report cannot be read.
    pub(crate) unreadable: bool,
}

impl Agent {
    pub(crate) fn starting(at: Timestamp, version: String, report: CachedReport) -> Self {
        Self {
            running_since: Some(at),
            beat_before: None,
            flap: SignedDuration::ZERO,
            rejected: false,
            version,
            domain: None,
            report,
            unreadable: false,
        }
    }

    /// Takes back the start: an agent that never ran.
    pub(crate) fn not_started(self) -> Self {
        Self { running_since: None, ..self }
    }

    pub(crate) fn phase(&self, now: Timestamp) -> AgentPhase {
        match self.running_since {
            None => AgentPhase::Paused,
            Some(since) if since > now => AgentPhase::Installing,
            Some(_) => AgentPhase::Running,
        }
    }

    /// The last beat heard up to `now`.
    pub(crate) fn last_beat(&self, now: Timestamp, heartbeat: SignedDuration) -> Option<Timestamp> {
        let since = match self.running_since {
            Some(since) if since <= now && !self.rejected => since,
            Some(_) | None => return self.beat_before,
        };
        let elapsed = millis(now.duration_since(since));
        let beat = millis(heartbeat).max(1);
        let flap = millis(self.flap);
        let offset = if flap == 0 {
            elapsed - elapsed % beat
        } else {
            let within = elapsed % (2 * flap);
            let beating = within.min(flap);
            elapsed - within + beating - beating % beat
        };
        Some(after(since, SignedDuration::from_millis(offset)))
    }

    /// How long it was alive between `from` and `to`, in the present run.
    pub(crate) fn live_between(&self, from: Timestamp, to: Timestamp) -> SignedDuration {
        let Some(since) = self.running_since.filter(|_| !self.rejected) else {
            return SignedDuration::ZERO;
        };
        let live_until = |at: Timestamp| {
            let elapsed = millis(at.duration_since(since)).max(0);
            let flap = millis(self.flap);
            if flap == 0 {
                return elapsed;
            }
            let within = elapsed % (2 * flap);
            (elapsed - within) / 2 + within.min(flap)
        };
        SignedDuration::from_millis((live_until(to) - live_until(from)).max(0))
    }

    pub(crate) fn is_running(&self, now: Timestamp) -> bool {
        self.phase(now) == AgentPhase::Running && !self.rejected
    }

    pub(crate) fn run(&mut self, at: Timestamp, now: Timestamp, heartbeat: SignedDuration) {
        self.beat_before = self.last_beat(now, heartbeat);
        self.running_since = Some(at);
    }

    pub(crate) fn pause(&mut self, now: Timestamp, heartbeat: SignedDuration) {
        self.beat_before = self.last_beat(now, heartbeat);
        self.running_since = None;
    }

    pub(crate) fn set_flap(&mut self, period: SignedDuration) {
        self.flap = period.max(SignedDuration::ZERO);
    }

    pub(crate) fn set_rejected(&mut self, rejected: bool) {
        self.rejected = rejected;
    }

    /// From now on nobody hears it, until it is started with the right secret.
    pub(crate) fn reject(&mut self, now: Timestamp, heartbeat: SignedDuration) {
        self.beat_before = self.last_beat(now, heartbeat);
        self.rejected = true;
    }

    /// Whether it was alive at `at`, as far as the present run goes.
    pub(crate) fn was_live(&self, at: Timestamp) -> bool {
        let Some(since) = self.running_since.filter(|since| *since <= at && !self.rejected) else { return false };
        let flap = millis(self.flap);
        flap == 0 || millis(at.duration_since(since)) % (2 * flap) < flap
    }

    /// Start of the present run, if it was ever heard in it.
    pub(crate) fn heard_since(&self) -> Option<Timestamp> {
        self.running_since.filter(|_| !self.rejected)
    }
}

fn millis(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::{Agent, AgentPhase};
    use crate::clock::seconds;
    use crate::report::AgentReport;
    use jiff::Timestamp;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap_or_default()
    }

    fn agent() -> Agent {
        Agent::starting(at(100), "2.20".to_owned(), AgentReport::default().into())
    }

    #[test]
    fn beats_follow_the_clock() {
        let agent = agent();
        let beat = seconds(30.0);
        assert_eq!(agent.last_beat(at(99), beat), None);
        assert_eq!(agent.phase(at(99)), AgentPhase::Installing);
        assert_eq!(agent.last_beat(at(100), beat), Some(at(100)));
        assert_eq!(agent.last_beat(at(159), beat), Some(at(130)));
    }

    #[test]
    fn a_pause_keeps_the_last_beat_and_stops_live_time() {
        let mut agent = agent();
        let beat = seconds(30.0);
        assert_eq!(agent.live_between(at(110), at(150)), seconds(40.0));
        agent.pause(at(150), beat);
        assert_eq!(agent.last_beat(at(1000), beat), Some(at(130)));
        assert_eq!(agent.live_between(at(110), at(1000)), seconds(0.0));
    }

    #[test]
    fn flapping_is_silent_every_other_period() {
        let mut agent = agent();
        let beat = seconds(10.0);
        agent.set_flap(seconds(60.0));
        assert_eq!(agent.last_beat(at(155), beat), Some(at(150)));
        assert_eq!(agent.last_beat(at(215), beat), Some(at(160)));
        assert_eq!(agent.last_beat(at(220), beat), Some(at(220)));
        assert_eq!(agent.live_between(at(100), at(220)), seconds(60.0));
    }

    #[test]
    fn a_rejected_agent_is_never_heard() {
        let mut agent = agent();
        agent.set_rejected(true);
        assert_eq!(agent.last_beat(at(500), seconds(30.0)), None);
        assert!(!agent.is_running(at(500)));
    }
}
