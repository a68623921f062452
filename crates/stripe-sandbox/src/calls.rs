//! The last calls, for tests that count them.

use std::collections::VecDeque;

use serde::Serialize;

const CALLS_MAX: usize = 1_000;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CallRecord {
    pub method: String,
    pub path: String,
    pub idempotency_key: Option<String>,
    pub request_id: String,
    pub status: u16,
    pub replayed: bool,
    /// True when a fault decided about the call.
    pub faulty: bool,
}

#[derive(Debug, Default)]
pub(crate) struct CallLog {
    total: u64,
    recent: VecDeque<CallRecord>,
}

impl CallLog {
    pub(crate) fn add(&mut self, record: CallRecord) {
        self.total += 1;
        if self.recent.len() == CALLS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn report(&self) -> serde_json::Value {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for call in &self.recent {
            *counts.entry(format!("{} {}", call.method, call.path)).or_default() += 1;
        }
        serde_json::json!({ "total": self.total, "counts": counts, "calls": self.recent })
    }
}
