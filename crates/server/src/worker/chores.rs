//! What is repeated without anybody asking for it.

use crate::app::{App, Error};

/// How old an open checkout is before it is looked at without a webhook.
const OPEN_AFTER_SECONDS: i64 = 300;

/// Something that a replica does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Looks at open checkouts, and at customers in the making at the provider.
    OpenCheckouts,
    /// Tells those whose trial ends soon, or has ended.
    Trials,
    /// Looks at customers whose agreement was written down anew, or has turned by the clock.
    Agreements,
    /// Issues anew what a compromised key has signed.
    CompromisedKeys,
    /// Forgets sessions that have ended.
    Sessions,
    /// Forgets limits that nobody has come near of late.
    Limits,
    /// Forgets links in mails that have run out.
    Links,
    /// Forgets events that were finished long ago.
    OldEvents,
    /// Makes due what a wrong clock has put off for days.
    PutOff,
    /// Reads the provider's log of events.
    Events,
    /// Compares our book with the provider's.
    Comparison,
}

impl Chore {
    /// Those that are done in every round, in their order.
    pub const EACH_ROUND: [Self; 9] = [
        Self::OpenCheckouts,
        Self::Trials,
        Self::Agreements,
        Self::CompromisedKeys,
        Self::Sessions,
        Self::Limits,
        Self::Links,
        Self::OldEvents,
        Self::PutOff,
    ];

    /// Those that have an appointment: each is run when it is due, so also at once after an outage, and by one process only. They
    /// stand apart, because a comparison of many customers must not hold up those who wait for a checkout.
    pub const BY_APPOINTMENT: [Self; 2] = [Self::Events, Self::Comparison];

    /// Its name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenCheckouts => "sweep",
            Self::Trials => "trials",
            Self::Agreements => "manual",
            Self::CompromisedKeys => "keys",
            Self::Sessions => "sessions",
            Self::Limits => "limits",
            Self::Links => "links",
            Self::OldEvents => "old events",
            Self::PutOff => "put off",
            Self::Events => "events",
            Self::Comparison => "comparison",
        }
    }

    /// Does it once.
    ///
    /// # Errors
    /// Failures; what was not done is done by the next round.
    pub async fn run(self, app: &App) -> Result<(), Error> {
        match self {
            Self::OpenCheckouts => app.sweep_open(app.now().plus_seconds(-OPEN_AFTER_SECONDS)).await.map(drop),
            Self::Trials => app.sweep_trials().await.map(drop),
            Self::Agreements => app.sweep_manual().await.map(drop),
            Self::CompromisedKeys => app.sweep_compromised().await.map(drop),
            Self::Sessions => app.forget_ended_sessions().await.map(drop),
            Self::Limits => app.forget_full_buckets().await.map(drop),
            Self::Links => app.forget_ended_links().await.map(drop),
            Self::OldEvents => app.forget_old_events().await.map(drop),
            Self::PutOff => app.bring_forward().await.map(drop),
            Self::Events => app.sweep_events().await.map(drop),
            Self::Comparison => app.compare_subscriptions().await.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Whoever reads of a round that failed knows which one it was.
    #[test]
    fn each_chore_has_a_name_of_its_own() {
        let chores = [&Chore::EACH_ROUND[..], &Chore::BY_APPOINTMENT].concat();
        let names: BTreeSet<&str> = chores.iter().map(|chore| chore.name()).collect();
        assert_eq!(names.len(), chores.len(), "{names:?}");
        assert!(!names.contains(""));
    }
}
