//! I10, judged from the truth: at every write, at every removal, and at the end.

use crate::rules::Breach;

use super::scenes::Scene;
use super::state::{Data, NONE, OVER, Record, Said, Secret, Stage, State, shelves};

fn breach(what: &str) -> Breach {
    Breach::of("I10", what.to_owned())
}

/// What must not be written.
pub(crate) fn of_write(state: &State, scene: &Scene, at: usize, data: Data) -> Result<(), Breach> {
    let there = state.secrets[at];
    // Of two processes one may not know yet that the registration was made anew: the other puts it right.
    let owned = if scene.second { data.uuid == 1 || data.uuid == 2 } else { data.uuid == state.object.own };
    let is_half = if at < 2 { data.secret.is_none() && !state.third } else { data.token.is_none() };
    let mixed = [data.secret, data.token].into_iter().flatten().any(|value| value.of != data.uuid);
    let had = there.intact().is_some_and(|had| had.uuid == data.uuid && had.secret.is_some());
    let wrong = [
        (there == Secret::Foreign, "somebody else's Secret is written over"),
        (!owned, "a registration is published that the object does not own"),
        (is_half, "half of a Secret is written"),
        (mixed, "a Secret is written with the credentials of another registration"),
        (had && data.secret.is_none() && at < 2, "a client secret is taken away"),
    ];
    wrong.into_iter().find(|(holds, _)| *holds).map_or(Ok(()), |(_, what)| Err(breach(what)))
}

/// What must not be removed.
pub(crate) fn of_removal(state: &State, process: usize, at: usize) -> Result<(), Breach> {
    let of = &state.processes[process];
    if state.secrets[at] == Secret::Foreign {
        return Err(breach("somebody else's Secret is removed"));
    }
    if of.pass.stage == Stage::Tidy && of.view.told != of.pass.asked {
        return Err(breach("the old Secret goes before the new one is there"));
    }
    Ok(())
}

/// Whether Secrets and spec agree, or the condition names a reason that is true.
pub(crate) fn is_goal(state: &State, scene: &Scene) -> bool {
    let object = state.object;
    let processes = &state.processes[..scene.processes()];
    let calm = processes.iter().all(|process| process.pass.stage == Stage::Off && process.view == object);
    if !calm || processes.iter().skip(1).any(|process| process.leads) {
        return false;
    }
    let left = |asked: u8| {
        state.secrets.iter().enumerate().any(|(at, secret)| at % 2 + 1 != usize::from(asked) && secret.is_ours())
    };
    if object.asked == 0 {
        return object.told == 0 && object.said == Said::Nothing && !left(0);
    }
    if scene.observes {
        return object.said == Said::Observes;
    }
    let record = if object.own == NONE { Record::default() } else { state.records[usize::from(object.own)] };
    let (main_at, bootstrap_at) = shelves(object.asked);
    let (main, bootstrap) = (state.secrets[main_at], state.secrets[bootstrap_at]);
    let needs_token = state.third && record.waiting;
    if main == Secret::Foreign || (bootstrap == Secret::Foreign && needs_token) {
        return object.said == Said::Conflict;
    }
    let right = |secret: Secret| secret.intact().filter(|data| data.uuid == object.own);
    let current = right(main).is_some_and(|data| state.third || data.secret.is_some_and(|it| it.age == record.rotated));
    let usable = right(bootstrap).is_some_and(|data| data.token.is_some_and(|token| token.age < OVER));
    record.live
        && current
        && (usable || !needs_token)
        && object.said == Said::Published
        && object.told == object.asked
        && !left(object.asked)
}
