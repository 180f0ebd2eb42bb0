//! What a Secret should hold, and how one stands to that: as `src/controller/published.rs`, with fewer words in it.

use crate::domain::Shelf;

use super::scenes::{Mistake, Scene};
use super::state::{Answer, Data, OVER, Secret};

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Press<'a> {
    pub(crate) scene: &'a Scene,
    /// The registration.
    pub(crate) uuid: u8,
}

impl Press<'_> {
    pub(crate) fn main_shelf(self, found: Secret, info: Option<Answer>) -> Shelf {
        self.shelf(found, self.main(found, info))
    }

    pub(crate) fn bootstrap_shelf(self, found: Secret, info: Option<Answer>) -> Shelf {
        let is_over = found.intact().and_then(|data| data.token).is_some_and(|token| token.age >= OVER);
        match self.shelf(found, self.bootstrap(found, info)) {
            Shelf::Good | Shelf::Differs if info.is_none_or(|info| info.token.is_none()) && is_over => Shelf::Outdated,
            shelf => shelf,
        }
    }

    fn shelf(self, found: Secret, target: Option<Data>) -> Shelf {
        match (found, target) {
            (Secret::Missing, _) => Shelf::Missing,
            (Secret::Foreign, Some(_)) if self.scene.has(Mistake::TakeANameForOwnership) => Shelf::Differs,
            (Secret::Foreign, None) if self.scene.has(Mistake::TakeANameForOwnership) => Shelf::Outdated,
            (Secret::Foreign, _) => Shelf::Foreign,
            (Secret::Ours { data, intact, labels, .. }, Some(target)) if data == target && intact && labels => {
                Shelf::Good
            }
            (Secret::Ours { .. }, Some(_)) => Shelf::Differs,
            (Secret::Ours { intact: false, .. }, None) => Shelf::Damaged,
            (Secret::Ours { .. }, None) => Shelf::Outdated,
        }
    }

    fn held(self, found: Secret) -> Option<Data> {
        found.intact().filter(|data| data.uuid == self.uuid || self.scene.has(Mistake::KeepAnothersCredentials))
    }

    /// What the Secret with the values should hold.
    pub(crate) fn main(self, found: Secret, info: Option<Answer>) -> Option<Data> {
        let held = self.held(found);
        if info.is_none() {
            held?;
        }
        let kept = held.and_then(|held| held.secret).filter(|_| !self.scene.has(Mistake::TakeNoAnswerForAnEmptyOne));
        Some(Data { uuid: self.uuid, secret: info.and_then(|info| info.secret).or(kept), token: None })
    }

    /// What the Secret with the bootstrap token should hold.
    pub(crate) fn bootstrap(self, found: Secret, info: Option<Answer>) -> Option<Data> {
        let token = info.and_then(|info| info.token).or_else(|| self.held(found)?.token)?;
        Some(Data { uuid: self.uuid, secret: None, token: Some(token) })
    }
}
