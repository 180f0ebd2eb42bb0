//! The invariants I1 to I6 of one object's life, checked against the ground truth.
//!
//! Owns the judgement. Must not change the world.

use jiff::SignedDuration;
use runai_cluster_operator::domain::{
    ClusterUuid, ConditionType, DeletionPolicy, Management, Plan, Provenance, Reason, Report, Stale, Stance, Step,
};

use super::pass::Pass;
use super::{Note, Object, World};

/// What went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Which invariant.
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl World {
    pub(super) fn violate(&mut self, rule: &'static str, what: String) {
        self.say(&format!("VIOLATION of {rule}: {what}"));
        self.violation.get_or_insert(Violation { rule, what });
    }

    /// I1: no object has made two registrations that both exist and stay.
    pub(super) fn check_single(&mut self) {
        for maker in 0..self.objects.len() {
            let lives = |row: &&super::api::Row| row.maker == Some(maker) && !row.gone && !row.record.is_deleting();
            let live: Vec<_> = self.api.rows.iter().filter(lives).collect();
            if live.len() > 1 {
                let uuids: Vec<_> = live.iter().map(|row| row.record.uuid.to_string()).collect();
                self.violate("I1", format!("object {maker} made {}", uuids.join(" and ")));
            }
        }
    }

    /// I2: a registration is touched only by the object that made it or was allowed to adopt it, and by the eldest.
    pub(super) fn check_own(&mut self, pass: &Pass, uuid: ClusterUuid, how: &str) {
        let Some(row) = self.api.rows.iter().find(|row| row.record.uuid == uuid) else { return };
        let made = row.maker == Some(pass.index);
        let adopted = self.asked[pass.index] && self.setup.may_adopt;
        let elder = (0..pass.index).any(|other| {
            let object = &self.objects[other];
            !object.gone && object.uuid() == Some(uuid)
        });
        if !(made || adopted) {
            self.violate("I2", format!("{how} of {uuid}, which object {} does not own", pass.index));
        } else if elder {
            self.violate("I2", format!("{how} of {uuid} by object {}, but an older one owns it", pass.index));
        }
    }

    /// I3: the finalizer goes only when nothing is left behind that should not be.
    pub(super) fn check_release(&mut self, pass: &Pass, plan: &Plan) {
        let object = &self.objects[pass.index];
        let owned = object.uuid();
        let adopted = object.status.facts.origin == Some(Provenance::Adopted)
            || matches!(&object.note, Note::Signed(identity) if identity.provenance == Provenance::Adopted);
        let may_stay = object.policy == Some(DeletionPolicy::Orphan)
            || object.spec.management == Management::Observe
            || self.setup.crd_deleting
            || (adopted && object.policy.is_none());
        if may_stay || object.version != pass.view.version {
            return;
        }
        let elsewhere = |uuid| {
            let others = self.objects.iter().enumerate().filter(|(other, object)| *other != pass.index && !object.gone);
            others.into_iter().any(|(_, object)| object.uuid() == Some(uuid))
        };
        let left = self.api.rows.iter().find(|row| {
            let ours = row.maker == Some(pass.index) || Some(row.record.uuid) == owned;
            ours && !row.gone
                && !row.accepted
                && row.record.delete_requested_at.is_none()
                && !elsewhere(row.record.uuid)
        });
        if let Some(row) = left {
            let what = format!("released because {:?}, but {} exists", plan.why, row.record.uuid);
            self.violate("I3", what);
        } else if self.api.late.iter().any(|late| late.maker == pass.index) {
            self.violate("I3", "released while a POST is under way".to_owned());
        }
    }

    /// I4 and I5: what may not be done now, whatever the reason.
    pub(super) fn check_step(&mut self, pass: &Pass, plan: &Plan) {
        let builds_on_absence = match &plan.step {
            Step::Create(_) | Step::Forget(Stale::Registration) => true,
            Step::Mark(marks) => marks.intent.is_some(),
            Step::Release => plan.why != Reason::Orphaned,
            Step::Look(_) | Step::Rename(..) | Step::Delete { .. } | Step::Rest | Step::Forget(Stale::Attempt) => false,
        };
        if pass.read_failed && builds_on_absence {
            self.violate("I4", format!("{:?} after a read that failed", plan.step));
        }
        let replaced = pass.recorded.intent.as_ref().and_then(|intent| intent.replaces);
        let still_there = self.api.rows.iter().any(|row| Some(row.record.uuid) == replaced && !row.gone);
        if still_there && matches!(plan.step, Step::Create(_)) {
            self.violate("I4", format!("replaces {replaced:?}, which exists"));
        }
        let remote = match &plan.step {
            Step::Create(_) | Step::Rename(..) => true,
            Step::Delete { .. } => false,
            Step::Look(_) | Step::Mark(_) | Step::Forget(_) | Step::Release | Step::Rest => return,
        };
        let object = &pass.view;
        let (deletes, policy) = (!remote, object.policy);
        let adopted = object.status.facts.origin == Some(Provenance::Adopted);
        let forbidden = [
            (object.spec.management == Management::Observe, "Observe"),
            (remote && object.spec.suspend, "suspend"),
            (remote && object.invalid, "an invalid spec"),
            (remote == object.deleting, "the wrong half of its life"),
            (deletes && self.setup.crd_deleting, "a CRD that is being deleted"),
            (deletes && (policy == Some(DeletionPolicy::Orphan) || (adopted && policy.is_none())), "Orphan"),
        ];
        for (holds, what) in forbidden {
            if holds {
                self.violate("I5", format!("{:?} under {what}", plan.step));
            }
        }
    }

    /// I4: a failed read does not take what was known.
    pub(super) fn check_report(&mut self, pass: &Pass, report: &Report) {
        let lost = pass.view.status.facts.uuid.is_some() && report.facts.uuid.is_none();
        if lost && pass.read_failed && pass.recorded.intent.is_none() {
            self.violate("I4", "a failed read takes the uuid out of status".to_owned());
        }
    }

    /// What other tools rely on in every status that was written: the first three conditions are there, the abnormal ones
    /// only while they are true, and an object is well, or worked on, or needs a person.
    pub(super) fn check_conditions(&mut self, object: &Object) {
        let conditions = &object.status.conditions;
        if conditions.is_empty() {
            return;
        }
        let statuses = |kind: ConditionType| -> Vec<&str> {
            conditions
                .iter()
                .filter(|(name, _, _)| name == kind.as_str())
                .map(|(_, status, _)| status.as_str())
                .collect()
        };
        let always = [ConditionType::Ready, ConditionType::Synced, ConditionType::Connected];
        let abnormal = [ConditionType::Reconciling, ConditionType::Stalled, ConditionType::Suspended];
        let [ready, working, stalled] = [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled]
            .map(|kind| statuses(kind) == ["True"]);
        let sound = always.iter().all(|kind| statuses(*kind).len() == 1)
            && abnormal.iter().all(|kind| matches!(statuses(*kind)[..], [] | ["True"]))
            && [ready, working, stalled].into_iter().filter(|holds| *holds).count() <= 1;
        if !sound {
            self.violate("conditions", format!("{conditions:?}"));
        }
    }

    /// Renames do not go on for ever.
    pub(super) fn check_fight(&mut self, pass: &Pass) {
        let recent = |(index, generation, at): &&(usize, i64, jiff::Timestamp)| {
            *index == pass.index
                && *generation == pass.view.generation
                && self.now.duration_since(*at) < SignedDuration::from_hours(1)
        };
        let count = self.renames.iter().filter(recent).count();
        if count > 3 {
            self.violate("fight", format!("object {} renames for the {count}th time within an hour", pass.index));
        }
    }

    /// I6: everything is as asked, or a person is told.
    pub(super) fn check_goals(&mut self) {
        for index in 0..self.objects.len() {
            if let Some(what) = self.short_of_goal(index) {
                self.violate("I6", format!("object {index}: {what}"));
            }
        }
    }

    fn short_of_goal(&self, index: usize) -> Option<String> {
        let object = &self.objects[index];
        if object.gone {
            return None;
        }
        let Some(plan) = &self.last[index] else { return Some("never came to rest".to_owned()) };
        let unusual = object.invalid || object.spec.management == Management::Observe;
        let rivals = self.objects.len() > 1;
        if plan.stance == Stance::Stalled {
            let excused = unusual
                || !self.benign
                || (rivals && matches!(plan.why, Reason::NameConflict | Reason::CreateAmbiguous));
            return (!excused).then(|| format!("needs a person without need: {:?}, {}", plan.why, plan.message));
        }
        if object.deleting {
            return Some(format!("is still there: {:?}", plan.why));
        }
        if unusual {
            return None;
        }
        if object.spec.suspend {
            return (plan.why != Reason::Suspended).then(|| format!("is not suspended: {:?}", plan.why));
        }
        let row = object.uuid().and_then(|uuid| self.api.rows.iter().find(|row| row.record.uuid == uuid));
        let right = row.is_some_and(|row| !row.gone && row.record.name == object.spec.name.as_str());
        match plan.stance {
            Stance::InSync if right => None,
            Stance::InSync => Some("calls itself in sync and is not".to_owned()),
            // A row of somebody else's with another domain was adopted.
            Stance::Apart if plan.why == Reason::Drifted && right => None,
            Stance::Apart | Stance::Progress | Stance::Unsure | Stance::Quiet | Stance::Stalled => {
                Some(format!("comes to rest as {:?} because {:?}", plan.stance, plan.why))
            }
        }
    }

    /// At its goal, nothing is written any more.
    pub(super) fn check_stillness(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let before = self.writes;
        for index in 0..self.objects.len() {
            self.pass(index, &[], false);
        }
        if self.writes != before {
            self.violate("I8", "writes although nothing changed".to_owned());
        }
    }
}
