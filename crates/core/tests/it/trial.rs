use counterfoil_core::trial::{Entry, Start, start};

use crate::support::{catalog, day};

#[test]
fn the_first_trial_runs_for_the_days_of_the_plan() {
    let now = day(1).plus_millis(1700);
    let first = start(None, catalog().trial(), now);
    let entry = Entry { started_at: now, ends_at: day(15).plus_seconds(1) };
    assert_eq!(first, Start::First(entry));
    assert_eq!(first.entry(), entry);
}

#[test]
fn a_second_trial_is_the_first_one_running_or_over() {
    let entry = Entry { started_at: day(1), ends_at: day(15) };
    for now in [day(1), day(14), day(15), day(400)] {
        let again = start(Some(entry), catalog().trial(), now);
        assert_eq!(again, Start::Earlier(entry));
        assert_eq!(again.entry(), entry);
    }
}
