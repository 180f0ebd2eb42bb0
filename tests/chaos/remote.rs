//! What may go wrong with one request to the control plane, drawn at random.
//!
//! Owns the choice of rules for the simulator. Must not know when they strike.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use runai_simulator::{
    Cut, EnumField, FaultAction, FaultMatch, FaultRule, Garbage, Loss, Operation, Phase, ResetPhase, RetryAfter,
};
use serde_json::{Value, json};

/// Stands in a redirect for the address of the listener that nobody must follow to.
pub const ELSEWHERE: &str = "http://elsewhere.invalid";
/// Is in bodies of errors where no client may repeat it from.
pub const BODY_CANARY: &str = "canary-in-an-error-body";
/// A POST is committed at the latest this long after its answer was lost: well within the quarantine.
const LATEST_COMMIT: f64 = 2.5;
/// Reads are at most so old.
pub const OLDEST_READ: Duration = Duration::from_millis(2500);

/// Which part of the matrix a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Lost,
    LateCommit,
    Hang,
    Status,
    Unavailable,
    Throttle,
    Garbage,
    Truncate,
    Stale,
    WrongUuid,
    Redirect,
    UnknownEnum,
    ShortToken,
    SlowAnswers,
    StuckDelete,
    SlowDelete,
}

impl Family {
    pub const ALL: [Self; 16] = [
        Self::Lost,
        Self::LateCommit,
        Self::Hang,
        Self::Status,
        Self::Unavailable,
        Self::Throttle,
        Self::Garbage,
        Self::Truncate,
        Self::Stale,
        Self::WrongUuid,
        Self::Redirect,
        Self::UnknownEnum,
        Self::ShortToken,
        Self::SlowAnswers,
        Self::StuckDelete,
        Self::SlowDelete,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "answer or request lost",
            Self::LateCommit => "late commit",
            Self::Hang => "hang",
            Self::Status => "4xx and 5xx",
            Self::Unavailable => "503 + Retry-After",
            Self::Throttle => "429",
            Self::Garbage => "garbage",
            Self::Truncate => "truncated",
            Self::Stale => "stale reads",
            Self::WrongUuid => "wrong uuid",
            Self::Redirect => "redirect",
            Self::UnknownEnum => "unknown enum",
            Self::ShortToken => "short tokens",
            Self::SlowAnswers => "slow answers",
            Self::StuckDelete => "stuck delete",
            Self::SlowDelete => "slow delete",
        }
    }
}

/// Whether the rule makes a read say what is not true. Two such lies at once can agree with each other, and no client
/// could tell.
pub fn is_lie(rule: &FaultRule) -> bool {
    match &rule.action {
        FaultAction::Stale { .. } | FaultAction::WrongUuid { .. } => true,
        FaultAction::Status { code, .. } => *code == 404,
        FaultAction::Garbage { variant, .. } => *variant == Garbage::EmptyArray,
        _ => false,
    }
}

/// A rule of that family.
pub fn draw(family: Family, rng: &mut Rng) -> FaultRule {
    let (operation, action) = subject(family, rng);
    let rule = FaultRule::on(operation, action);
    match family {
        // One replica that answers every read, or one kind of them.
        Family::Stale if rng.bool() => {
            FaultRule { matches: FaultMatch { method: Some("GET".to_owned()), ..FaultMatch::default() }, ..rule }
        }
        Family::Stale | Family::SlowAnswers | Family::UnknownEnum | Family::StuckDelete | Family::SlowDelete => rule,
        Family::ShortToken => rule.times(4),
        _ if rng.bool() => rule.times(rng.u64(1..4)),
        _ => FaultRule { probability: Some(0.4 + 0.5 * rng.f64()), ..rule },
    }
}

/// Which requests, and what happens to them.
fn subject(family: Family, rng: &mut Rng) -> (Operation, FaultAction) {
    let any = [Operation::Create, Operation::Update, Operation::Delete, Operation::List, Operation::Get];
    let reads = [Operation::List, Operation::Get];
    match family {
        Family::Lost => {
            let phase = pick(rng, &[ResetPhase::Pre, ResetPhase::Mid, ResetPhase::Post]);
            (mostly_create(rng, &any), FaultAction::Reset { phase })
        }
        Family::LateCommit => {
            let loss = pick(rng, &[Loss::Reset, Loss::Hang]);
            (Operation::Create, FaultAction::LateCommit { seconds: 0.2 + rng.f64() * (LATEST_COMMIT - 0.2), loss })
        }
        Family::Hang => {
            let action = FaultAction::Hang { seconds: 0.5 + 2.0 * rng.f64(), phase: phase(rng) };
            (mostly_create(rng, &with_token(&any)), action)
        }
        Family::Status => status(rng, &any),
        Family::Unavailable => {
            let action = FaultAction::Throttle { retry_after: wish(rng), status: 503, phase: phase(rng) };
            (mostly_create(rng, &any), action)
        }
        // 429 means "not done"; a server that says it after the commit breaks the protocol's assumption.
        Family::Throttle => {
            (pick(rng, &any), FaultAction::Throttle { retry_after: wish(rng), status: 429, phase: Phase::Pre })
        }
        Family::Garbage => {
            let variants = [Garbage::Html, Garbage::Empty, Garbage::EmptyArray, Garbage::EmptyObject, Garbage::Null];
            let status = pick(rng, &[200, 200, 201, 502]);
            let action = FaultAction::Garbage { status, variant: pick(rng, &variants), phase: phase(rng) };
            (pick(rng, &with_token(&any)), action)
        }
        Family::Truncate => {
            let operation = pick(rng, &[Operation::Create, Operation::List, Operation::Get, Operation::Token]);
            (operation, FaultAction::Truncate { cut: pick(rng, &[Cut::Json, Cut::Length]) })
        }
        Family::Stale => {
            (pick(rng, &reads), FaultAction::Stale { seconds: 0.2 + rng.f64() * (OLDEST_READ.as_secs_f64() - 0.2) })
        }
        // Not in a 201: nothing else tells the uuid.
        Family::WrongUuid => (pick(rng, &reads), FaultAction::WrongUuid { uuid: None }),
        Family::Redirect => {
            let status = pick(rng, &[301, 302, 307, 308]);
            let action = FaultAction::Redirect { location: ELSEWHERE.to_owned(), status, phase: phase(rng) };
            (pick(rng, &with_token(&any)), action)
        }
        Family::UnknownEnum => {
            let field = pick(rng, &[EnumField::State, EnumField::PlatformType]);
            (pick(rng, &reads), FaultAction::UnknownEnum { field, value: "Teleported".to_owned() })
        }
        Family::ShortToken => (Operation::Token, FaultAction::TokenShort { ttl_seconds: rng.i64(1..4) }),
        Family::SlowAnswers => {
            let action = FaultAction::Latency { ms: 50, max_ms: rng.u64(200..900), phase: phase(rng) };
            (pick(rng, &with_token(&any)), action)
        }
        Family::StuckDelete => (Operation::Delete, FaultAction::StuckDelete),
        Family::SlowDelete => (Operation::Delete, FaultAction::SlowDelete { factor: 2.0 + 4.0 * rng.f64() }),
    }
}

fn status(rng: &mut Rng, any: &[Operation]) -> (Operation, FaultAction) {
    let operation = mostly_create(rng, &with_token(any));
    let code = pick(rng, &[400, 401, 403, 404, 408, 409, 422, 500, 502, 504]);
    let body: Option<Value> = rng.bool().then(|| json!({ "message": "on purpose", "detail": BODY_CANARY }));
    (operation, FaultAction::Status { code, body, headers: BTreeMap::new(), phase: phase(rng) })
}

fn wish(rng: &mut Rng) -> RetryAfter {
    let seconds = rng.u32(1..3);
    pick(rng, &[RetryAfter::None, RetryAfter::Seconds(seconds), RetryAfter::Date(seconds)])
}

fn phase(rng: &mut Rng) -> Phase {
    pick(rng, &[Phase::Pre, Phase::Post])
}

/// The create is where most can go wrong.
fn mostly_create(rng: &mut Rng, any: &[Operation]) -> Operation {
    if rng.u8(..10) < 6 { Operation::Create } else { pick(rng, any) }
}

fn with_token(any: &[Operation]) -> Vec<Operation> {
    any.iter().copied().chain([Operation::Token]).collect()
}

pub fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}
