//! One `RunaiCluster` as the Kubernetes API stores it.
//!
//! Owns storage: metadata, spec, status, resource version. Must not know what any of it is good for.

use jiff::Timestamp;
use runai_cluster_operator::domain::{
    Adoption, AdoptionPolicy, Before, ClusterDomain, ClusterName, ClusterUuid, Deletion, DeletionPolicy, Desired,
    Identity, Intent, Management, Marks, ReadyWhen, RecreatePolicy, Report, SpecError, Stale,
};

/// The identity annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Nothing,
    Signed(Identity),
    /// Written by a user.
    Forged(ClusterUuid),
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) version: u64,
    pub(crate) generation: i64,
    pub(crate) created: Timestamp,
    pub(crate) deleting: bool,
    /// Out of the store.
    pub(crate) gone: bool,
    pub(crate) finalizer: bool,
    pub(crate) note: Note,
    pub(crate) intent: Option<Intent>,
    pub(crate) spec: Desired,
    pub(crate) invalid: bool,
    pub(crate) policy: Option<DeletionPolicy>,
    pub(crate) status: Before,
}

impl Object {
    pub(crate) fn new(name: &str, created: Timestamp) -> Self {
        Self {
            version: 1,
            generation: 1,
            created,
            deleting: false,
            gone: false,
            finalizer: false,
            note: Note::Nothing,
            intent: None,
            spec: Desired {
                name: ClusterName::parse(name).unwrap(),
                domain: Some(ClusterDomain::parse("east.example.com").unwrap()),
                version: None,
                management: Management::Manage,
                adoption: Adoption::default(),
                recreate: RecreatePolicy::Never,
                ready_when: ReadyWhen::Registered,
                suspend: false,
                install: None,
            },
            invalid: false,
            policy: None,
            status: Before::default(),
        }
    }

    pub(crate) fn desired(&self) -> Result<Desired, SpecError> {
        if self.invalid { Err(SpecError::Undecodable("not a spec".to_owned())) } else { Ok(self.spec.clone()) }
    }

    pub(crate) fn deletion(&self) -> Deletion {
        Deletion {
            management: self.spec.management,
            policy: self.policy,
            stalled_after: std::time::Duration::from_hours(24),
            force_after: None,
        }
    }

    /// The registration that the stored notes name.
    pub(crate) fn uuid(&self) -> Option<ClusterUuid> {
        match (&self.note, self.status.facts.uuid) {
            (_, Some(uuid)) => Some(uuid),
            (Note::Signed(identity), None) => Some(identity.uuid),
            (Note::Nothing | Note::Forged(_), None) => None,
        }
    }

    /// Whether the user has asked for an existing registration in any way.
    pub(crate) fn asks_to_adopt(&self) -> bool {
        self.spec.adoption.uuid.is_some()
            || self.spec.adoption.policy != AdoptionPolicy::Never
            || self.spec.management == Management::Observe
            || matches!(self.note, Note::Forged(_))
    }

    // ---- writes of the operator ----

    pub(crate) fn mark(&mut self, marks: &Marks) {
        let note = marks.identity.clone().map_or(Note::Nothing, Note::Signed);
        if !self.finalizer || self.note != note || self.intent != marks.intent {
            self.finalizer = true;
            self.note = note;
            self.intent.clone_from(&marks.intent);
            self.version += 1;
        }
    }

    pub(crate) fn forget(&mut self, what: Stale) {
        let facts = &mut self.status.facts;
        match what {
            Stale::Registration => {
                (facts.uuid, facts.tenant, facts.origin, facts.delete_requested_at) = Default::default();
            }
            Stale::Attempt => facts.intent = None,
        }
        self.version += 1;
    }

    /// Whether anything was written.
    pub(crate) fn tell(&mut self, report: &Report) -> bool {
        let conditions = report
            .conditions
            .iter()
            .map(|c| (c.kind.as_str().to_owned(), c.status.as_str().to_owned(), c.reason.clone()));
        let status = Before { facts: report.facts.clone(), conditions: conditions.collect() };
        let differs = status != self.status;
        if differs {
            self.status = status;
            self.version += 1;
        }
        differs
    }

    pub(crate) fn release(&mut self) {
        self.finalizer = false;
        self.version += 1;
        self.gone |= self.deleting;
    }

    // ---- hands of users ----

    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.generation += 1;
        self.version += 1;
    }

    pub(crate) fn ask_to_delete(&mut self) {
        self.deleting = true;
        self.version += 1;
        self.gone |= !self.finalizer;
    }

    /// A restore from a backup. Spared when it would take the only trace: that is beyond what the design promises.
    pub(crate) fn wipe_status(&mut self) -> bool {
        let facts = &self.status.facts;
        let noted = match (&self.note, facts.uuid) {
            (_, None) => true,
            (Note::Signed(identity), Some(uuid)) => identity.uuid == uuid,
            (Note::Nothing | Note::Forged(_), Some(_)) => false,
        };
        let spare = noted && (facts.intent.is_none() || facts.intent == self.intent);
        if spare {
            self.status = Before::default();
            self.version += 1;
        }
        spare
    }

    /// A `kubectl replace`. Spared when it would take the only trace, but for an intent that the process remembers, and
    /// when the process remembers an attempt of its own while a second process began another: memory outranks status.
    pub(crate) fn wipe_annotations(&mut self, remembered: Option<&Intent>) -> bool {
        let facts = &self.status.facts;
        let noted = match &self.note {
            Note::Signed(identity) => facts.uuid == Some(identity.uuid),
            Note::Nothing | Note::Forged(_) => true,
        };
        let known = self.intent.as_ref() == remembered || (remembered.is_none() && self.intent == facts.intent);
        let told = self.intent.is_none() || known;
        let spare = noted && told;
        if spare {
            self.note = Note::Nothing;
            self.intent = None;
            self.version += 1;
        }
        spare
    }

    /// The only trace of the open intent is in process memory.
    pub(crate) fn hangs_on_memory(&self, remembered: Option<&Intent>) -> bool {
        remembered.is_some()
            && self.intent.as_ref() != remembered
            && self.status.facts.intent.as_ref() != remembered
            && self.uuid().is_none()
    }
}
