//! What is counted in the memory of a process, and what in the store that all processes share.

use super::*;

#[tokio::test]
async fn a_busy_customer_is_counted_in_blocks_and_a_quiet_one_in_memory_alone() {
    for engine in engines() {
        let world = world(engine).await;
        let now = world.app.now();
        let ask = async |at| match world.app.limit_license_of("cust_busy", at).await {
            Ok(()) => None,
            Err(Error::Refused(Refusal::TooManyRequests { retry_after_seconds })) => Some(retry_after_seconds),
            Err(error) => panic!("{error}"),
        };
        // How long the bucket in the store takes to be full again: ten seconds for each block of a hundred.
        let taken = async || {
            let row = world.app.db.query("select full_at from rate_limits").optional().await.unwrap();
            row.map(|row| (row.get::<i64>("full_at").unwrap() - now.as_micros()) / 1_000_000)
        };
        for (asked, seconds) in [(100, None), (1, Some(10)), (99, Some(10)), (1, Some(20)), (799, Some(90))] {
            for _ in 0..asked {
                assert_eq!(ask(now).await, None);
            }
            assert_eq!(taken().await, seconds);
        }
        assert_eq!(ask(now).await, Some(1), "a thousand at once");
        let next = now.plus_seconds(1);
        for _ in 0..10 {
            assert_eq!(ask(next).await, None);
        }
        assert_eq!(ask(next).await, Some(1), "and ten a second");
    }
}

#[tokio::test]
async fn who_was_refused_is_refused_by_this_process_without_the_store() {
    for engine in engines() {
        let world = world(engine).await;
        let customer_id = world.customer().await;
        for _ in 0..10 {
            world.app.limit_password(&customer_id).await.unwrap();
        }
        let is_refused = async |app: &App| {
            let answer = app.limit_password(&customer_id).await;
            matches!(answer, Err(Error::Refused(Refusal::TooManyRequests { .. })))
        };
        assert!(is_refused(&world.app).await);
        world.app.db.query("delete from rate_limits").execute().await.unwrap();
        assert!(is_refused(&world.app).await);
        let other = App { limits: Arc::default(), ..world.app.clone() };
        assert!(!is_refused(&other).await);
    }
}
