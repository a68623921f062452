//! Taking in on both engines: many at once, the same one several times, and one that cannot be stored.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::testing::{TestDb, empty, engines};
use super::{Adding, DbError, Engine, IntoValue as _};

static NAMES: Adding = Adding {
    one: "insert into names (name, place, weight) values ($1, $2, $3) on conflict (name, place) do nothing",
    many: |rows| match rows {
        0..4 => (1, "insert into names values ($1, $2, $3) on conflict (name, place) do nothing returning name, place"),
        _ => (
            4,
            "insert into names values ($1, $2, $3), ($4, $5, $6), ($7, $8, $9), ($10, $11, $12) \
             on conflict (name, place) do nothing returning name, place",
        ),
    },
    key: &["name", "place"],
};

async fn with_names(engine: Engine) -> TestDb {
    let db = empty(engine).await;
    let table = "create table names (name text not null, place text not null, weight bigint not null check (weight >= 0), \
                 unique (name, place))";
    db.raw(table).await.unwrap();
    db
}

/// Takes these in at once, and answers in their order.
async fn take_in(db: &TestDb, rows: &[(&str, &str, i64)]) -> Vec<Result<bool, DbError>> {
    let mut all = JoinSet::new();
    for (number, (name, place, weight)) in rows.iter().enumerate() {
        let values = vec![name.into_value(), place.into_value(), weight.into_value()];
        let db = db.db.clone();
        all.spawn(async move { (number, db.take_in(&NAMES, values).await) });
    }
    let outcomes: BTreeMap<_, _> = all.join_all().await.into_iter().collect();
    outcomes.into_values().collect()
}

#[tokio::test]
async fn of_many_at_once_each_key_is_added_by_exactly_one() {
    for engine in engines() {
        let db = with_names(engine).await;
        let places: Vec<String> = (0..60).map(|number| (number % 20).to_string()).collect();
        let rows: Vec<(&str, &str, i64)> = places.iter().map(|place| ("ada", place.as_str(), 1)).collect();
        let outcomes = take_in(&db, &rows).await;
        let mut added = BTreeMap::<&str, usize>::new();
        for (outcome, (_, place, _)) in outcomes.into_iter().zip(&rows) {
            *added.entry(place).or_default() += usize::from(outcome.unwrap());
        }
        assert_eq!(added.len(), 20);
        assert!(added.values().all(|times| *times == 1), "{engine:?}: {added:?}");
        let stored = db.db.query("select cast(count(*) as bigint) as n from names").one().await.unwrap();
        assert_eq!(stored.get::<i64>("n").unwrap(), 20);
        assert!(take_in(&db, &rows[..8]).await.into_iter().all(|outcome| !outcome.unwrap()), "all are there");
    }
}

#[tokio::test]
async fn nobody_suffers_from_one_that_cannot_be_stored() {
    for engine in engines() {
        let db = with_names(engine).await;
        let places: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        let weight = |number: usize| if number == 17 { -1 } else { 1 };
        let rows: Vec<(&str, &str, i64)> =
            places.iter().enumerate().map(|(number, place)| ("ben", place.as_str(), weight(number))).collect();
        for (number, outcome) in take_in(&db, &rows).await.into_iter().enumerate() {
            match outcome {
                Ok(added) => assert!(added && number != 17, "{engine:?}: {number}"),
                Err(error) => assert!(number == 17 && !error.is_unavailable(), "{engine:?}: {number}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn whoever_is_taken_in_alone_after_a_pause_is_served() {
    for engine in engines() {
        let db = with_names(engine).await;
        for number in 0..5 {
            let place = number.to_string();
            assert!(take_in(&db, &[("eve", &place, 0)]).await.pop().unwrap().unwrap());
        }
    }
}
