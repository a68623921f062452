//! Every acceptance scenario has a story with its number in its name: one that is renamed or deleted is missed here.

use std::collections::BTreeSet;
use std::path::Path;

/// The first and the last number of each run of scenarios.
const SCENARIOS: [(u32, u32); 14] = [
    (1, 6),
    (9, 12),
    (14, 18),
    (20, 21),
    (23, 43),
    (46, 56),
    (59, 60),
    (62, 66),
    (69, 70),
    (72, 73),
    (76, 77),
    (79, 79),
    (81, 81),
    (83, 83),
];

/// `scenario_4_…`, `scenarios_60_and_62_…` and `scenarios_31_to_35_…` tell these.
fn numbers(name: &str) -> BTreeSet<u32> {
    let mut told = BTreeSet::new();
    let (mut upwards, mut last) = (false, 0);
    for word in name.split('_').skip(1) {
        match (word, word.parse::<u32>()) {
            (_, Ok(number)) => {
                told.extend(if upwards { last..=number } else { number..=number });
                (upwards, last) = (false, number);
            }
            ("to", _) => upwards = true,
            ("and", _) => {}
            _ => break,
        }
    }
    told
}

#[test]
fn every_scenario_has_a_story() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut told = BTreeSet::new();
    let entries = std::fs::read_dir(folder).expect("the stories").map(|entry| entry.expect("an entry").path());
    for path in entries.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(path).expect("a story is text");
        for line in text.lines() {
            let Some(name) = line.trim_start().strip_prefix("async fn ") else { continue };
            if name.starts_with("scenario_") || name.starts_with("scenarios_") {
                told.append(&mut numbers(name.split('(').next().unwrap_or_default()));
            }
        }
    }
    let wanted: BTreeSet<u32> = SCENARIOS.iter().flat_map(|(first, last)| *first..=*last).collect();
    let missing: Vec<&u32> = wanted.difference(&told).collect();
    assert!(missing.is_empty(), "no story tells the scenarios {missing:?}");
}

#[test]
fn the_numbers_of_a_story_are_in_its_name() {
    let of = |name: &str| numbers(name).into_iter().collect::<Vec<u32>>();
    assert_eq!(of("scenario_4_a_kill"), [4]);
    assert_eq!(of("scenarios_60_and_62_a_planned_end"), [60, 62]);
    assert_eq!(of("scenario_18_21_and_23_the_already"), [18, 21, 23]);
    assert_eq!(of("scenarios_31_to_35_only"), [31, 32, 33, 34, 35]);
    assert_eq!(of("scenario_9_of_2_things"), [9]);
}
