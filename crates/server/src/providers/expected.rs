//! What an installation expects of its account at the provider, to be compared with what is there.

use counterfoil_core::{Catalog, Timestamp};

/// What should be there.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub catalog: &'a Catalog,
    /// Where events should be sent; `None` where the sandbox sees to that.
    pub webhook_url: Option<&'a str>,
    /// The account that this database belongs to, where that is known.
    pub account: Option<&'a str>,
    /// When the newest event with a good signature came, and its type.
    pub newest_event: Option<(Timestamp, &'a str)>,
    /// The machine's time now; `None` where time is the sandbox's.
    pub now: Option<Timestamp>,
}
