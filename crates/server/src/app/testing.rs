//! What the tests of use cases and of pages have in common.

use counterfoil_core::{Plan, PlanCode};

/// A plan that costs nothing and unlocks nothing, with a week of grace.
pub fn plan(code: &str, trial_days: u32) -> Plan {
    Plan {
        code: PlanCode::new(code),
        name: code.to_owned(),
        description: String::new(),
        features: Vec::new(),
        limits: Default::default(),
        trial_days,
        grace_days: 7,
        prices: Vec::new(),
    }
}
