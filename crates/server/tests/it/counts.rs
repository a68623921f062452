//! What a story counts for whoever watches the service, apart from what other stories count meanwhile.

use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// What this thread counts from here on. A test has one thread, and so has all that it starts.
pub struct Counts {
    handle: PrometheusHandle,
    _guard: LocalRecorderGuard<'static>,
}

impl Counts {
    pub fn begin() -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        Self { handle: recorder.handle(), _guard: metrics::set_default_local_recorder(recorder) }
    }

    /// How often this was counted, named as in `/metrics` and without `counterfoil_`: `attention_total{why="disputed"}`.
    pub fn of(&self, name: &str) -> u64 {
        let name = format!("counterfoil_{name} ");
        let rendered = self.handle.render();
        let number = rendered.lines().find_map(|line| line.strip_prefix(&name));
        number.map_or(0, |number| number.parse().expect("a number"))
    }
}
