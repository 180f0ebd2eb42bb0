//! The faults that row 49 pairs with each other. Owns what they do; must not know how they are paired.

use std::collections::BTreeMap;

use runai_simulator::{Cut, FaultAction, Garbage, Loss, Operation, Phase, ResetPhase, RetryAfter};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    ResetPre,
    ResetPost,
    HangPre,
    HangPost,
    LateReset,
    LateHang,
    Broken,
    BrokenAfter,
    Html,
    EmptyAfter,
    CutJson,
    CutHttp,
    Redirect,
    Forbidden,
    Conflict,
    Revoked,
    Busy,
    Stale,
    ReadsFail,
    ReadsEmpty,
}

use Fault::{
    Broken, BrokenAfter, Busy, Conflict, CutHttp, CutJson, EmptyAfter, Forbidden, HangPost, HangPre, Html, LateHang,
    LateReset, ReadsEmpty, ReadsFail, Redirect, ResetPost, ResetPre, Revoked, Stale,
};

/// Strike the requests of one object.
pub const CHANGES: [Fault; 17] = [
    ResetPre,
    ResetPost,
    HangPre,
    HangPost,
    LateReset,
    LateHang,
    Broken,
    BrokenAfter,
    Html,
    EmptyAfter,
    CutJson,
    CutHttp,
    Redirect,
    Forbidden,
    Conflict,
    Revoked,
    Busy,
];
/// Strike all reads of a control plane, by chance.
pub const READS: [Fault; 3] = [Stale, ReadsFail, ReadsEmpty];

fn status(code: u16, phase: Phase) -> FaultAction {
    FaultAction::Status { code, body: None, headers: BTreeMap::new(), phase }
}

fn garbage(status: u16, variant: Garbage, phase: Phase) -> FaultAction {
    FaultAction::Garbage { status, variant, phase }
}

impl Fault {
    /// As part of names of objects.
    pub const fn name(self) -> &'static str {
        match self {
            ResetPre => "reset-pre",
            ResetPost => "reset-post",
            HangPre => "hang-pre",
            HangPost => "hang-post",
            LateReset => "late-reset",
            LateHang => "late-hang",
            Broken => "500",
            BrokenAfter => "502-after",
            Html => "html",
            EmptyAfter => "empty-after",
            CutJson => "cut-json",
            CutHttp => "cut-http",
            Redirect => "redirect",
            Forbidden => "403",
            Conflict => "409",
            Revoked => "revoked",
            Busy => "429",
            Stale => "stale",
            ReadsFail => "reads-fail",
            ReadsEmpty => "reads-empty",
        }
    }

    pub fn is_of_reads(self) -> bool {
        READS.contains(&self)
    }

    /// Hits others on the same control plane, too.
    pub const fn is_shared(self) -> bool {
        matches!(self, Revoked | Busy)
    }

    /// What happens to one request of this kind; `None` if this fault does not strike it. Waits lie around the create
    /// deadline of 2 s, and late commits well within the quarantine of 12 s, also when reads are 3 s old.
    pub fn action(self, operation: Operation, lane: &str, rng: &mut fastrand::Rng) -> Option<FaultAction> {
        let is_create = operation == Operation::Create;
        if self.is_of_reads() {
            return None;
        }
        let late = |loss, seconds| FaultAction::LateCommit { seconds, loss };
        Some(match self {
            ResetPre => FaultAction::Reset { phase: ResetPhase::Pre },
            ResetPost => FaultAction::Reset { phase: ResetPhase::Post },
            HangPre => FaultAction::Hang { seconds: 2.1 + rng.f64(), phase: Phase::Pre },
            HangPost => FaultAction::Hang { seconds: 2.1 + rng.f64(), phase: Phase::Post },
            LateReset if is_create => late(Loss::Reset, 0.2 + 2.5 * rng.f64()),
            LateHang if is_create => late(Loss::Hang, 1.5 + 1.5 * rng.f64()),
            LateReset | LateHang => FaultAction::Reset { phase: ResetPhase::Post },
            Broken => status(500, Phase::Pre),
            BrokenAfter => status(502, Phase::Post),
            Html => garbage(200, Garbage::Html, Phase::Pre),
            EmptyAfter => garbage(if is_create { 201 } else { 200 }, Garbage::Empty, Phase::Post),
            CutJson => FaultAction::Truncate { cut: Cut::Json },
            CutHttp => FaultAction::Truncate { cut: Cut::Length },
            Redirect => {
                FaultAction::Redirect { location: "http://127.0.0.1:9/".into(), status: 307, phase: Phase::Pre }
            }
            Forbidden => status(403, Phase::Pre),
            Conflict => status(409, Phase::Pre),
            Revoked => FaultAction::TokenRevoke { identity: Some(lane.to_owned()), phase: Phase::Pre },
            Busy => FaultAction::Throttle { retry_after: RetryAfter::Seconds(1), status: 429, phase: Phase::Pre },
            Stale | ReadsFail | ReadsEmpty => return None,
        })
    }

    /// What happens to a read.
    pub fn of_reads(self, rng: &mut fastrand::Rng) -> FaultAction {
        match self {
            ReadsFail => status(500, Phase::Pre),
            ReadsEmpty => garbage(200, Garbage::EmptyArray, Phase::Pre),
            _ => FaultAction::Stale { seconds: 1.0 + 2.0 * rng.f64() },
        }
    }
}
