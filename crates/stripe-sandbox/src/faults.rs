//! Faults on demand: what a network, a provider and a queue do wrong, at a test's command.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    pub webhooks: WebhookFaults,
    pub calls: Option<FailedCalls>,
    pub lose_answer: Option<Counted>,
    pub store_error: Option<Counted>,
    pub slow: Option<SlowCalls>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebhookFaults {
    /// Extra copies of every first delivery.
    pub duplicate: u32,
    /// Newer events are sent before older ones.
    pub reorder: bool,
    /// First deliveries wait this long.
    pub delay_seconds: i64,
    /// The next deliveries that are never sent.
    pub drop: u32,
}

/// Calls that fail before anything is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedCalls {
    pub fail: u32,
    /// How many calls go through before.
    #[serde(default)]
    pub after: u32,
    #[serde(default = "unavailable")]
    pub status: u16,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub method: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counted {
    pub times: u32,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub method: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlowCalls {
    pub times: u32,
    pub millis: u64,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub method: Option<String>,
}

/// What one call has to suffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    pub fails_with: Option<u16>,
    pub loses_answer: bool,
    pub stores_error: bool,
    pub waits_millis: u64,
}

fn unavailable() -> u16 {
    503
}

impl Faults {
    /// Takes over what `newer` sets; the rest stays.
    pub(crate) fn merge(&mut self, newer: Self, given: &serde_json::Value) {
        if given.get("webhooks").is_some() {
            self.webhooks = newer.webhooks;
        }
        self.calls = newer.calls.or(self.calls.take());
        self.lose_answer = newer.lose_answer.or(self.lose_answer.take());
        self.store_error = newer.store_error.or(self.store_error.take());
        self.slow = newer.slow.or(self.slow.take());
    }

    pub(crate) fn take_dropped_webhook(&mut self) -> bool {
        take(&mut self.webhooks.drop, true)
    }

    /// Decides about one call and counts the faults down.
    pub(crate) fn fate(&mut self, method: &str, path: &str) -> Fate {
        let mut fate = Fate::default();
        if let Some(fault) = &mut self.calls {
            let hit = hits(fault.path.as_deref(), fault.method.as_deref(), method, path);
            let spared = take(&mut fault.after, hit);
            fate.fails_with = take(&mut fault.fail, hit && !spared).then_some(fault.status);
        }
        if let Some(fault) = self.slow.as_mut() {
            let hit = hits(fault.path.as_deref(), fault.method.as_deref(), method, path);
            fate.waits_millis = if take(&mut fault.times, hit) { fault.millis } else { 0 };
        }
        if fate.fails_with.is_some() {
            return fate;
        }
        if let Some(fault) = &mut self.store_error {
            let hit = hits(fault.path.as_deref(), fault.method.as_deref(), method, path);
            fate.stores_error = take(&mut fault.times, hit);
        }
        if let Some(fault) = &mut self.lose_answer {
            let hit = hits(fault.path.as_deref(), fault.method.as_deref(), method, path);
            fate.loses_answer = take(&mut fault.times, hit);
        }
        fate
    }
}

fn take(left: &mut u32, hit: bool) -> bool {
    let taken = hit && *left > 0;
    *left -= u32::from(taken);
    taken
}

/// A path matches exactly, or by its beginning when it ends with `*`.
fn hits(wanted_path: Option<&str>, wanted_method: Option<&str>, method: &str, path: &str) -> bool {
    let path_fits = wanted_path.is_none_or(|wanted| match wanted.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => wanted == path,
    });
    path_fits && wanted_method.is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_count_down_and_keep_to_their_path() {
        let mut faults: Faults = serde_json::from_str(
            r#"{"calls":{"fail":1,"path":"/v1/customers","method":"post"},"lose_answer":{"times":1}}"#,
        )
        .expect("parses");
        assert!(faults.fate("GET", "/v1/customers").loses_answer);
        assert_eq!(faults.fate("POST", "/v1/customers").fails_with, Some(503));
        assert_eq!(faults.fate("POST", "/v1/customers").fails_with, None);
    }

    #[test]
    fn failures_can_begin_after_some_calls() {
        let mut faults: Faults =
            serde_json::from_str(r#"{"calls":{"fail":2,"after":1,"method":"POST"}}"#).expect("parses");
        let mut call = |method| faults.fate(method, "/v1/prices").fails_with;
        let seen = [call("POST"), call("GET"), call("POST"), call("POST"), call("POST")];
        assert_eq!(seen, [None, None, Some(503), Some(503), None]);
    }

    #[test]
    fn a_misspelt_fault_is_refused() {
        assert!(serde_json::from_str::<Faults>(r#"{"webhook":{}}"#).is_err());
    }
}
