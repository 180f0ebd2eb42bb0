//! The table of single remote faults: what goes wrong in which phase, and what may be spent on it.
//!
//! Owns the rows. Must not know how they are run.

use std::collections::BTreeMap;

use runai_simulator::{
    Cut, EnumField, FaultAction, FaultRule, Garbage, Loss, Operation, Phase, ResetPhase, RetryAfter,
};

use crate::oracle::Extra;

/// What kind of control plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Usual,
    /// 2.24, and 3.0 from the rename on.
    Upgraded,
    /// Names are unique, and lists hide what is being deleted.
    Held,
    /// The same, with documented status codes only: a conflict is a 500.
    HeldStrict,
}

/// One row; the faults of each phase end with it.
#[derive(Clone, Debug)]
pub struct Row {
    pub row: u8,
    /// Also of its control plane and its object.
    pub name: &'static str,
    pub kind: Kind,
    pub is_faulty: bool,
    pub making: Vec<FaultRule>,
    pub renaming: Vec<FaultRule>,
    pub deleting: Vec<FaultRule>,
    /// The faults last until the object shows this reason; `None`: they end by themselves.
    pub shows: Option<&'static str>,
    pub extra: Extra,
}

fn calm(name: &'static str, kind: Kind) -> Row {
    Row {
        row: 0,
        name,
        kind,
        is_faulty: false,
        making: vec![],
        renaming: vec![],
        deleting: vec![],
        shows: None,
        extra: Extra::NONE,
    }
}

fn row(row: u8, name: &'static str) -> Row {
    Row { row, is_faulty: true, ..calm(name, Kind::Usual) }
}

/// The answer to the POST only; `extra` says what that costs.
fn post(number: u8, name: &'static str, action: FaultAction, extra: Extra) -> Row {
    Row { making: vec![on(Operation::Create, action).times(1)], extra, ..row(number, name) }
}

fn on(operation: Operation, action: FaultAction) -> FaultRule {
    FaultRule::on(operation, action)
}

/// On every read of registrations, so often each.
fn reads(action: &FaultAction, times: u64) -> Vec<FaultRule> {
    // Which of them a phase needs is the operator's business: one rule for all.
    vec![FaultRule { matches: method("GET"), ..FaultRule::new(action.clone()) }.times(times)]
}

fn method(method: &str) -> runai_simulator::FaultMatch {
    runai_simulator::FaultMatch { method: Some(method.to_owned()), ..Default::default() }
}

/// The same fault on POST, PUT and DELETE, each in its phase.
#[allow(clippy::needless_pass_by_value, reason = "callers write it in place")]
fn changes(base: Row, action: &FaultAction, times: u64) -> Row {
    let rule = |operation| vec![on(operation, action.clone()).times(times)];
    Row {
        making: rule(Operation::Create),
        renaming: rule(Operation::Update),
        deleting: rule(Operation::Delete),
        ..base
    }
}

fn status(code: u16, phase: Phase) -> FaultAction {
    FaultAction::Status { code, body: None, headers: BTreeMap::new(), phase }
}

fn garbage(status: u16, variant: Garbage) -> FaultAction {
    FaultAction::Garbage { status, variant, phase: Phase::Pre }
}

/// A doubt that a look ends: said once in status and by one Event. What the look tells has no state: the next list has.
const DOUBT: Extra = Extra { statuses: 2, events: 1, ..Extra::NONE };
/// A doubt that only the quarantine ends: the intent is taken back, and there is a second attempt.
const AGAIN: Extra = Extra { posts: 1, marks: 2, ..DOUBT };
/// Nothing remote, but in each of the three phases the reason may be told, and taken back.
const TOLD: Extra = Extra { statuses: 6, events: 6, ..Extra::NONE };

pub fn rows(elsewhere: &str) -> Vec<Row> {
    let calm = [
        calm("calm", Kind::Usual),
        calm("calm-upgraded", Kind::Upgraded),
        calm("calm-held", Kind::Held),
        calm("calm-strict", Kind::HeldStrict),
    ];
    [calm.to_vec(), lost_posts(), names_and_reads(), throttles(), bodies(), lines(elsewhere), rights()].concat()
}

fn lost_posts() -> Vec<Row> {
    let reset = |phase| FaultAction::Reset { phase };
    let hang = |phase| FaultAction::Hang { seconds: 4.0, phase };
    let late = |loss| FaultAction::LateCommit { seconds: 5.0, loss };
    vec![
        post(2, "reset-post", reset(ResetPhase::Post), DOUBT),
        post(2, "reset-mid", reset(ResetPhase::Mid), DOUBT),
        post(2, "hang-post", hang(Phase::Post), DOUBT),
        post(3, "late-reset", late(Loss::Reset), DOUBT),
        post(3, "late-hang", late(Loss::Hang), DOUBT),
        post(4, "reset-pre", reset(ResetPhase::Pre), AGAIN),
        post(4, "hang-pre", hang(Phase::Pre), AGAIN),
        post(5, "conflict-409", status(409, Phase::Pre), AGAIN),
        post(5, "invalid-422", status(422, Phase::Pre), AGAIN),
        post(5, "committed-409", status(409, Phase::Post), DOUBT),
        post(5, "committed-500", status(500, Phase::Post), DOUBT),
    ]
}

fn names_and_reads() -> Vec<Row> {
    let stale = vec![FaultRule { matches: method("GET"), ..FaultRule::new(FaultAction::Stale { seconds: 4.0 }) }];
    let lost = on(Operation::Create, FaultAction::Reset { phase: ResetPhase::Post }).times(1);
    let held = Extra { posts: 3, marks: 6, statuses: 3, events: 3, ..Extra::NONE };
    vec![
        Row { kind: Kind::Held, shows: Some("NameHeld"), extra: held, ..row(5, "held-409") },
        Row { kind: Kind::HeldStrict, shows: Some("CreateInDoubt"), extra: held, ..row(5, "held-500") },
        Row {
            making: [stale.clone(), vec![lost]].concat(),
            renaming: stale.clone(),
            deleting: stale,
            // A list that shows the old name after the rename is corrected by one more PUT, without effect.
            extra: Extra { puts: 1, changed: 1, ..DOUBT },
            ..row(6, "stale")
        },
        Row {
            making: reads(&FaultAction::WrongUuid { uuid: None }, 2),
            renaming: reads(&FaultAction::WrongUuid { uuid: None }, 2),
            deleting: reads(&FaultAction::WrongUuid { uuid: None }, 2),
            extra: TOLD,
            ..row(19, "wrong-uuid")
        },
        Row { kind: Kind::Upgraded, ..row(20, "upgraded") },
        Row {
            making: reads(&FaultAction::UnknownEnum { field: EnumField::State, value: "Hibernating".to_owned() }, 2),
            extra: TOLD,
            ..row(20, "unknown-state")
        },
    ]
}

fn throttles() -> Vec<Row> {
    let throttle = |status, retry_after| FaultAction::Throttle { retry_after, status, phase: Phase::Pre };
    // Refused for certain: each attempt costs its request, its intent, and being told.
    let twice = Extra { posts: 2, puts: 2, deletes: 2, marks: 4, statuses: 6, events: 6, ..Extra::NONE };
    let once = Extra { posts: 1, puts: 1, deletes: 1, marks: 2, statuses: 4, events: 4, ..Extra::NONE };
    vec![
        changes(Row { extra: twice, ..row(11, "429-seconds") }, &throttle(429, RetryAfter::Seconds(1)), 2),
        changes(Row { extra: twice, ..row(11, "429-date") }, &throttle(429, RetryAfter::Date(2)), 2),
        changes(Row { extra: twice, ..row(11, "429-bare") }, &throttle(429, RetryAfter::None), 2),
        changes(Row { extra: once, ..row(11, "503-seconds") }, &throttle(503, RetryAfter::Seconds(1)), 1),
        Row {
            making: reads(&throttle(429, RetryAfter::Seconds(1)), 2),
            deleting: reads(&throttle(503, RetryAfter::Seconds(1)), 2),
            extra: TOLD,
            ..row(11, "429-reads")
        },
    ]
}

fn bodies() -> Vec<Row> {
    let bad_reads = |name, action: FaultAction| Row {
        making: reads(&action, 3),
        renaming: reads(&action, 3),
        deleting: reads(&action, 3),
        extra: TOLD,
        ..row(13, name)
    };
    let cut = |cut| FaultAction::Truncate { cut };
    vec![
        bad_reads("html-502", garbage(502, Garbage::Html)),
        bad_reads("html-200", garbage(200, Garbage::Html)),
        bad_reads("empty-200", garbage(200, Garbage::Empty)),
        bad_reads("null-200", garbage(200, Garbage::Null)),
        bad_reads("object-200", garbage(200, Garbage::EmptyObject)),
        bad_reads("array-200", garbage(200, Garbage::EmptyArray)),
        bad_reads("cut-json", cut(Cut::Json)),
        bad_reads("cut-http", cut(Cut::Length)),
        post(13, "post-html", garbage(200, Garbage::Html), AGAIN),
        post(13, "post-null", garbage(201, Garbage::Null), AGAIN),
        post(13, "post-cut", cut(Cut::Json), DOUBT),
        post(13, "post-short", cut(Cut::Length), DOUBT),
    ]
}

fn lines(elsewhere: &str) -> Vec<Row> {
    let redirect = |code| FaultAction::Redirect { location: elsewhere.to_owned(), status: code, phase: Phase::Pre };
    // Each change once more; of a POST nobody knows, so its intent is taken back first.
    let again = Extra { posts: 1, puts: 1, deletes: 1, marks: 2, statuses: 5, events: 5, ..Extra::NONE };
    // Committed all the same: a look finds the registration; name and deletion may be asked for once more.
    let done = Extra { puts: 1, changed: 1, deletes: 1, statuses: 5, events: 5, ..Extra::NONE };
    let reset = FaultAction::Reset { phase: ResetPhase::Pre };
    // Longer than the 20 s that a request may take; a list may take longer, and waits this one out.
    let hang = |phase| FaultAction::Hang { seconds: 25.0, phase };
    vec![
        changes(Row { extra: again, ..row(15, "black-hole") }, &hang(Phase::Pre), 1),
        changes(Row { extra: done, ..row(15, "half-open") }, &hang(Phase::Post), 1),
        Row {
            making: reads(&hang(Phase::Pre), 1),
            deleting: reads(&hang(Phase::Pre), 1),
            extra: TOLD,
            ..row(15, "black-hole-reads")
        },
        changes(Row { extra: again, ..row(16, "redirect-307") }, &redirect(307), 1),
        changes(Row { extra: again, ..row(16, "redirect-301") }, &redirect(301), 1),
        changes(Row { extra: again, ..row(22, "reset") }, &reset, 1),
        changes(Row { extra: done, ..row(22, "reset-after") }, &FaultAction::Reset { phase: ResetPhase::Post }, 1),
        Row {
            making: reads(&reset, 2),
            renaming: reads(&reset, 2),
            deleting: reads(&reset, 2),
            extra: TOLD,
            ..row(22, "reset-reads")
        },
    ]
}

fn rights() -> Vec<Row> {
    let revoke = FaultAction::TokenRevoke { identity: None, phase: Phase::Pre };
    let forbidden = |name, extra| Row { shows: Some("Forbidden"), extra, ..row(25, name) };
    // The reason is waited for, so how often a verb was tried meanwhile depends on back-off: 1, 2, 4 s.
    let tried = Extra { posts: 3, puts: 3, deletes: 3, marks: 6, statuses: 6, events: 6, ..Extra::NONE };
    let verb = |operation| vec![on(operation, status(403, Phase::Pre))];
    let read = vec![FaultRule { matches: method("GET"), ..FaultRule::new(status(403, Phase::Pre)) }];
    let refused = |matches| FaultRule { matches, ..FaultRule::new(status(403, Phase::Pre)) };
    // Not the login, which is a POST, too.
    let all = [["GET", "PUT", "DELETE"].map(|verb| refused(method(verb))).to_vec(), verb(Operation::Create)].concat();
    vec![
        changes(
            Row {
                extra: Extra { posts: 1, puts: 1, deletes: 1, marks: 2, statuses: 6, events: 6, ..Extra::NONE },
                ..row(23, "revoked")
            },
            &revoke,
            1,
        ),
        Row { making: reads(&revoke, 1), deleting: reads(&revoke, 1), extra: TOLD, ..row(23, "revoked-reads") },
        Row { making: verb(Operation::Create), ..forbidden("no-create", tried) },
        Row { renaming: verb(Operation::Update), ..forbidden("no-update", tried) },
        Row { deleting: verb(Operation::Delete), ..forbidden("no-delete", tried) },
        Row { making: read.clone(), deleting: read, ..forbidden("no-read", tried) },
        Row { making: all.clone(), renaming: all.clone(), deleting: all, ..forbidden("no-right", tried) },
        Row {
            making: [reads(&revoke, 1), vec![on(Operation::Token, status(400, Phase::Pre))]].concat(),
            shows: Some("AuthFailed"),
            extra: tried,
            ..row(24, "wrong-secret")
        },
    ]
}
