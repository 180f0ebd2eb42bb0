//! Histories of the second model in words.

use std::fmt::Write as _;

use super::pass::{Core, Outcome, Turn};
use super::scenes::Scene;
use super::state::{NONE, Secret, Stage, State, Value};
use super::world::{Action, Edit};

const NAMES: [&str; 4] = ["a", "b", "a-bootstrap", "b-bootstrap"];

pub(crate) fn tell(scene: &Scene, core: &Core, state: &State, action: Action) -> String {
    match action {
        Action::Step(process, outcome) => {
            let after = Turn::new(scene, core, state, process, outcome).step();
            let did = match &after {
                Some(Ok(after)) => step(state, after, process),
                Some(Err(_)) => "does what must not be done".to_owned(),
                None => "nothing".to_owned(),
            };
            let came = match outcome {
                Outcome::Works => "",
                Outcome::Fails => "; the call fails",
                Outcome::AnswerLost => "; the answer is lost",
            };
            format!("process {process}: {did}{came}")
        }
        Action::Hear(process) => format!("process {process} hears of the change of the object"),
        Action::HearSecret(process, at) => format!("process {process} hears of the change of Secret {}", NAMES[at]),
        Action::Register(process) => format!("process {process} registers the object's cluster, and notes that"),
        Action::Connect => "the agent connects".to_owned(),
        Action::Minute => "a minute goes by".to_owned(),
        Action::Hour => "an hour goes by".to_owned(),
        Action::Part => "the second operator ends".to_owned(),
        Action::Crash(process) => format!("process {process} dies and starts anew"),
        Action::User(edit) => match edit {
            Edit::Ask(0) => "the user takes spec.installInfo away".to_owned(),
            Edit::Ask(name) => format!("the user asks for Secret {}", NAMES[usize::from(name) - 1]),
            Edit::Erase(at) => format!("somebody deletes Secret {}", NAMES[at]),
            Edit::Damage(at) => format!("somebody changes what Secret {} holds", NAMES[at]),
            Edit::Relabel(at) => format!("somebody changes a label of Secret {}", NAMES[at]),
            Edit::Lock(at) => format!("somebody makes Secret {} immutable", NAMES[at]),
            Edit::Plant(at) => format!("somebody makes a Secret {} of his own", NAMES[at]),
        },
        Action::Other(hand) => format!("the control plane: {hand:?}"),
    }
}

fn step(before: &State, after: &State, process: usize) -> String {
    for (at, name) in NAMES.iter().enumerate() {
        if before.secrets[at] != after.secrets[at] {
            let verb = if after.secrets[at] == Secret::Missing { "deletes" } else { "writes" };
            return format!("{verb} Secret {name}: {}", held(after.secrets[at]));
        }
    }
    if before.object != after.object {
        return format!("writes status: {:?}", after.object.said);
    }
    match (before.processes[process].pass.stage, after.processes[process].pass.stage) {
        (_, Stage::Reads(_)) => "asks for the install information".to_owned(),
        (Stage::Reads(_), _) => "takes what comes back".to_owned(),
        (_, Stage::Say(said, _)) => format!("looks at the Secrets, and comes to {said:?}"),
        (_, Stage::Off) => "ends its pass".to_owned(),
        (_, stage) => format!("goes on: {stage:?}"),
    }
}

fn held(secret: Secret) -> String {
    let value = |what: &str, value: Option<Value>| {
        value.map(|value| format!(", {what} {} of registration {}", value.age, value.of)).unwrap_or_default()
    };
    match secret {
        Secret::Missing => "none".to_owned(),
        Secret::Foreign => "somebody else's".to_owned(),
        Secret::Ours { data, intact, .. } => {
            let intact = if intact { "" } else { ", damaged" };
            let (secret, token) = (value("client secret", data.secret), value("token of age", data.token));
            format!("registration {}{secret}{token}{intact}", data.uuid)
        }
    }
}

/// How things stand at the end of a history.
pub(crate) fn sum_up(state: &State) -> String {
    let object = state.object;
    let own = if object.own == NONE { "none".to_owned() } else { object.own.to_string() };
    let name = |asked: u8| asked.checked_sub(1).map_or("none", |at| NAMES[usize::from(at)]);
    let mut text = format!(
        "     object: asks for Secret {}, owns registration {own}, status says Secret {}, {:?}\n",
        name(object.asked),
        name(object.told),
        object.said
    );
    for (name, secret) in NAMES.iter().zip(state.secrets).filter(|(_, secret)| *secret != Secret::Missing) {
        let _ = writeln!(text, "     Secret {name}: {}", held(secret));
    }
    text
}
