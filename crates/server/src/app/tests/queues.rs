//! Events that wait: for how long, for whom, and what brings them forward.

use super::*;
use crate::providers::ProviderError;
use crate::store::inbox::Claimed;

impl World {
    /// What one more failure makes of an event with so many tries behind it that came in so long ago: its state, and the pause
    /// in milliseconds.
    async fn after_failure(
        &self,
        customer_id: &CustomerId,
        error: &Error,
        attempts: i64,
        age_seconds: i64,
    ) -> (String, i64) {
        self.app.db.query("delete from webhook_inbox").execute().await.unwrap();
        self.event(customer_id, 0).await;
        let received_at = self.app.now().plus_seconds(-age_seconds);
        let row = self.app.db.query("select id from webhook_inbox").one().await.unwrap();
        let claimed = Claimed {
            id: row.get("id").unwrap(),
            event_id: "evt_1".to_owned(),
            event_type: "invoice.paid".to_owned(),
            external_customer: None,
            external_payment: None,
            claimed_customer: None,
            claimed_instance: None,
            customer_id: Some(customer_id.clone()),
            attempts,
            received_at,
            found_by_sweep: false,
        };
        let before = self.app.now();
        self.app.fail_rows(&[claimed], error).await.unwrap();
        let row = self.app.db.query("select state, run_at from webhook_inbox").one().await.unwrap();
        let run_at: Timestamp = row.get("run_at").unwrap();
        (row.get("state").unwrap(), (run_at.as_micros() - before.as_micros()) / 1_000)
    }

    async fn set_run_at(&self, event_id: &str, seconds: i64) {
        let sql = "update webhook_inbox set run_at = $2, failure = 'permanent' where event_id = $1";
        let run_at = self.app.now().plus_seconds(seconds);
        assert_eq!(self.app.db.query(sql).bind(event_id).bind(run_at).execute().await.unwrap(), 1);
    }

    /// In how many seconds each event is due, in their order.
    async fn due_in(&self) -> Vec<i64> {
        let rows = self.app.db.query("select run_at from webhook_inbox order by event_id").all().await.unwrap();
        let now = self.app.now();
        rows.iter().map(|row| row.get::<Timestamp>("run_at").unwrap().seconds_since(now)).collect()
    }
}

#[tokio::test]
async fn how_long_an_event_waits_follows_from_why_it_failed() {
    const DAY: i64 = 86_400;
    for engine in engines() {
        let world = world(engine).await;
        let (now, customer_id) = (world.app.now(), world.customer().await);
        let away = || Error::from(ProviderError::Unavailable { reason: "it timed out".to_owned(), request_id: None });
        let refuses = Error::from(ProviderError::Unauthorized { message: "expired".to_owned(), request_id: None });
        let early = || Error::from(Failure::NotInBook);
        let poisoned = |until: i64| Error::from(Failure::ProviderKeyPoisoned { until: now.plus_seconds(until) });
        // Half a second after the first try, twice as long after each that follows, and five minutes at most.
        let (soon, later, most, long) = (200..3_000, 120_000..390_000, 140_000..460_000, 1_800_000..5_410_000);
        for (error, attempts, age_seconds, state, pause) in [
            (away(), 1, 0, "pending", soon.clone()),
            (away(), 9, 4 * DAY, "pending", 60_000..200_000),
            (away(), 10, 3 * DAY - 60, "pending", later),
            (away(), 40, DAY, "pending", most),
            (early(), 1, DAY - 60, "pending", soon.clone()),
            (early(), 1, DAY, "pending", long.clone()),
            (refuses, 1, 0, "pending", long),
            (poisoned(600), 1, 0, "pending", 590_000..600_001),
            (poisoned(-600), 1, 0, "pending", 0..3_000),
        ] {
            let (found, waits) = world.after_failure(&customer_id, &error, attempts, age_seconds).await;
            assert_eq!(found, state, "{error} {attempts}");
            assert!(pause.contains(&waits), "{error} {attempts}: {waits} is not in {pause:?}");
        }
        assert_eq!(world.after_failure(&customer_id, &away(), 10, 3 * DAY).await.0, "dead");
    }
}

#[tokio::test]
async fn the_pause_between_two_tries_doubles_up_to_five_minutes() {
    let world = world(crate::db::Engine::Sqlite).await;
    for (attempts, millis) in
        [(0, 500), (1, 500), (2, 1_000), (3, 2_000), (10, 256_000), (11, 300_000), (1_000, 300_000)]
    {
        let pauses: Vec<i64> = (0..200).map(|_| world.app.backoff_millis(attempts)).collect();
        let (least, most) = (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
        // Spread around it: that all of so many lie on one side does not happen.
        assert!((millis / 2..millis).contains(&least) && (millis + 1..=millis * 3 / 2).contains(&most), "{attempts}");
    }
}

#[tokio::test]
async fn a_start_hastens_what_waits_for_an_operator_and_takes_no_claimed_row() {
    for engine in engines() {
        let world = world(engine).await;
        world.three_with_events().await;
        for (event_id, seconds) in [("evt_0", 70), ("evt_1", 150), ("evt_2", 3_600)] {
            world.set_run_at(event_id, seconds).await;
        }
        world.app.hasten_hopeless().await.unwrap();
        let due = world.due_in().await;
        assert!(due[0] > 10 && due[1] <= 0 && due[2] <= 0, "{due:?}");
    }
}

#[tokio::test]
async fn what_a_wrong_clock_has_put_off_is_due_at_once_and_what_waits_for_an_hour_is_not() {
    for engine in engines() {
        let world = world(engine).await;
        world.three_with_events().await;
        for (event_id, seconds) in [("evt_0", 7_200), ("evt_1", 4 * 3_600), ("evt_2", 86_400)] {
            world.set_run_at(event_id, seconds).await;
        }
        let put_off = "update outbox set run_at = $1";
        let mails = world.app.db.query(put_off).bind(world.app.now().plus_days(3)).execute().await.unwrap();
        assert_eq!((mails, world.app.bring_forward().await.unwrap()), (3, 5));
        let due = world.due_in().await;
        assert!(due[0] > 3_600 && due[1] <= 0 && due[2] <= 0, "{due:?}");
        assert_eq!(world.app.bring_forward().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_service_that_stops_claims_no_more_events() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.event(&customer_id, 0).await;
        world.app.signals.stopping.cancel();
        assert_eq!(world.app.work_inbox().await.unwrap(), 0);
        assert_eq!(world.event_row().await, ("pending".to_owned(), 0));
    }
}

#[tokio::test]
async fn an_error_of_the_database_that_is_no_outage_is_written_to_the_event() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        world.event(&customer_id, 0).await;
        world.app.db.query("alter table checkout_attempts rename to elsewhere").execute().await.unwrap();
        assert_eq!(world.app.work_inbox().await.unwrap(), 1);
        let row = world.app.db.query("select state, failure from webhook_inbox").one().await.unwrap();
        let (state, failure): (String, Option<String>) = (row.get("state").unwrap(), row.get("failure").unwrap());
        assert_eq!((state.as_str(), failure.as_deref()), ("pending", Some("permanent")));
    }
}
