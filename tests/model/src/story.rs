//! Histories in words.

use std::fmt::Write as _;

use crate::bridge::{Core, Do};
use crate::domain::Reason;
use crate::scenes::Scene;
use crate::shell::{Outcome, Turn};
use crate::state::{Life, NONE, Note, OTHERS, State};
use crate::world::Action;

const NAMES: [&str; 3] = ["east", "west", "north"];

fn name(index: u8) -> &'static str {
    NAMES.get(usize::from(index)).copied().unwrap_or("?")
}

/// One thing that happens in this state.
pub(crate) fn tell(scene: &Scene, core: &mut Core, state: &State, action: Action) -> String {
    match action {
        Action::Step { process, object, outcome } => {
            let Some(turn) = Turn::new(scene, core, state, process, object) else { return format!("{action:?}") };
            let said = step(turn.decision.step);
            let comes_to = match outcome {
                Outcome::Works => "",
                Outcome::NoAnswer => "; no answer, nothing happened yet",
                Outcome::AnswerLost => "; it happened, but the answer is lost",
                Outcome::Empty => "; the list comes out empty",
                Outcome::Mixed => "; the list comes out with wrong uuids",
                Outcome::Lags => "; the answer is that of a replica that lags",
                Outcome::Unsent => "; not sent",
                Outcome::Refused => "; refused",
                Outcome::RefusedAfter => "; it happened, then a gateway answers 422",
                Outcome::LaterAfter => "; it happened, then a gateway answers 503 with Retry-After",
            };
            format!("process {process}, object {object}: {said}{comes_to}  ({:?})", turn.decision.why)
        }
        Action::Refresh { process, object } => format!("process {process} hears of the change of object {object}"),
        Action::Poll(process) => format!("process {process} lists all registrations"),
        Action::PollLags(process) => format!("process {process} lists all registrations, from a replica that lags"),
        Action::Tick => "half a quarantine goes by".to_owned(),
        Action::Commit(_) => "a POST under way is committed".to_owned(),
        Action::Vanish(_) => "a POST under way is lost".to_owned(),
        Action::Finish(slot) => format!("the deletion of registration {slot} is done"),
        Action::Crash(process) => format!("process {process} dies and starts anew"),
        Action::Lead(process) => format!("process {process} gets the lease"),
        Action::Swap(to) => format!("the connection gets other credentials: {to:?}"),
        Action::Edit(object, edit) => format!("the user of object {object}: {edit:?}"),
        Action::Other(hand) => format!("somebody else in the control plane: {hand:?}"),
        Action::WipeStatus(object) => format!("the status of object {object} is lost"),
        Action::WipeNotes(object) => format!("the annotations of object {object} are lost"),
        Action::Forge(object, slot) => {
            format!("a user writes registration {slot} into the annotations of object {object}")
        }
    }
}

fn step(step: Do) -> String {
    match step {
        Do::LookNames(of) => format!("looks for the name {}", name(of)),
        Do::LookById(slot) => format!("reads registration {slot}"),
        Do::LookRead(slot) => format!("reads registration {slot}, on which the list is not believed"),
        Do::LookCrd => "reads the CRD".to_owned(),
        Do::Identify { uuid, .. } => format!("notes that registration {uuid} is its own"),
        Do::Intend { name: of, .. } => format!("notes the intent to create {}", name(of)),
        Do::Unmark => "takes the intent away".to_owned(),
        Do::Forget(what) => format!("takes the {what:?} out of status"),
        Do::Create(of) => format!("POST {}", name(of)),
        Do::Rename(slot, to) => format!("PUT registration {slot}: {}", name(to)),
        Do::Delete(slot) => format!("DELETE registration {slot}"),
        Do::Release => "takes the finalizer off".to_owned(),
        Do::Rest => "writes status".to_owned(),
    }
}

/// How things stand at the end of a history.
pub(crate) fn sum_up(scene: &Scene, state: &State) -> String {
    let mut text = String::new();
    for (index, object) in state.objects[..scene.objects].iter().enumerate() {
        let here = match (object.here, object.deleting) {
            (false, _) => "gone",
            (true, true) => "being deleted",
            (true, false) => "there",
        };
        let owns = match object.note {
            Note::Nothing => String::new(),
            Note::Signed { uuid, .. } => format!(", noted registration {uuid}"),
            Note::Forged(uuid) => format!(", forged note of registration {uuid}"),
        };
        let open = if object.intent == NONE { "" } else { ", open intent" };
        let why = Reason::ALL.get(usize::from(object.status.why)).map_or("no status", |reason| reason.as_str());
        let _ = writeln!(text, "     object {index} ({}): {here}{owns}{open}, {why}", name(object.spec.name));
    }
    for (slot, record) in state.records.iter().enumerate().filter(|(_, record)| record.life != Life::Free) {
        let maker =
            if record.maker == OTHERS { "somebody else".to_owned() } else { format!("object {}", record.maker) };
        let _ = writeln!(text, "     registration {slot} ({}) of {maker}: {:?}", name(record.name), record.life);
    }
    text
}
