//! The fence: may this process write, right now?
//!
//! Owns the belief in one's own leadership and how it ends by time alone. It must not know Leases or the API.

use std::{future::pending, time::Duration};

use tokio::sync::watch;

use crate::controller::clock::Boottime;

/// What this process may believe about its leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenure {
    /// There is no election.
    Unelected,
    /// Somebody else leads, or nobody yet.
    Standby,
    /// We lead, by a renewal that was started then.
    Held { renewed: Boottime },
    /// We led, and do not any more.
    Lost,
    /// We gave the Lease back.
    Released,
}

impl Tenure {
    fn leads(self, renew_deadline: Duration) -> bool {
        match self {
            Self::Unelected => true,
            Self::Held { renewed } => renewed.elapsed() < renew_deadline,
            Self::Standby | Self::Lost | Self::Released => false,
        }
    }
}

/// The answer to "may this process write?". Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    pub(super) tenure: watch::Receiver<Tenure>,
    pub(super) renew_deadline: Duration,
}

impl Leadership {
    /// Leadership without an election: always held, never lost.
    pub(crate) fn always() -> Self {
        let (_, tenure) = watch::channel(Tenure::Unelected);
        Self { tenure, renew_deadline: Duration::MAX }
    }

    /// Whether this process may write now. Ask before *every* mutation.
    pub(crate) fn is_leader(&self) -> bool {
        self.tenure.borrow().leads(self.renew_deadline)
    }

    /// Returns once this process leads; never, if the election has ended.
    pub(crate) async fn wait_until_leader(&self) {
        let mut tenure = self.tenure.clone();
        let leads = tenure.wait_for(|tenure| tenure.leads(self.renew_deadline)).await.is_ok();
        if !leads {
            pending::<()>().await;
        }
    }

    /// Returns once leadership was held and is lost, or the election's task died. Not after a release in good order.
    pub(crate) async fn lost(&self) {
        let mut tenure = self.tenure.clone();
        if tenure.wait_for(|tenure| *tenure == Tenure::Lost).await.is_ok() {
            return;
        }
        let last = *tenure.borrow();
        match last {
            Tenure::Standby | Tenure::Held { .. } | Tenure::Lost => (),
            Tenure::Unelected | Tenure::Released => pending().await,
        }
    }
}
