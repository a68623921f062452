//! One thing that goes wrong at one step, in a world where nothing else does.

use std::fmt;
use std::str::FromStr;

use counterfoil::simulation::Step;

/// On which way a step leads out of a replica, or into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    Database,
    Stripe,
    Mail,
    /// A webhook on its way to us.
    Webhook,
}

impl Edge {
    pub const ALL: [Self; 4] = [Self::Database, Self::Stripe, Self::Mail, Self::Webhook];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Stripe => "stripe",
            Self::Mail => "mail",
            Self::Webhook => "webhook",
        }
    }
}

/// What can become of a step. Not everything can become of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is not done, and whoever asked is told that nobody answers.
    Fail,
    /// It is not done: another transaction was in the way.
    Conflict,
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// The process is dead before it.
    DieBefore,
    /// It is done, and the process is dead.
    DieAfter,
    /// Stripe broke, did nothing and keeps nothing of it.
    Answer500,
    /// Stripe broke, and says the same whenever it is asked with this key.
    Store500,
    /// There were too many calls.
    Limit,
    /// Somebody else is using the key.
    KeyInUse,
    /// Something else answers for Stripe.
    Garbage,
    /// The webhook never comes.
    Lose,
    /// It comes twice at once.
    Twice,
    /// It comes when everything that follows has come.
    Late,
}

const NAMES: [(&str, Kind); 13] = [
    ("fail", Kind::Fail),
    ("conflict", Kind::Conflict),
    ("lose-answer", Kind::LoseAnswer),
    ("die-before", Kind::DieBefore),
    ("die-after", Kind::DieAfter),
    ("answer-500", Kind::Answer500),
    ("store-500", Kind::Store500),
    ("limit", Kind::Limit),
    ("key-in-use", Kind::KeyInUse),
    ("garbage", Kind::Garbage),
    ("lose", Kind::Lose),
    ("twice", Kind::Twice),
    ("late", Kind::Late),
];

/// What can become of a use of the database. What is done for a moment only is lost with the transaction, whoever dies.
pub const fn kinds_of(step: Step) -> &'static [Kind] {
    match step {
        Step::Begin | Step::Statement | Step::Single => &[Kind::Fail, Kind::Conflict, Kind::DieBefore],
        Step::Write | Step::Commit => &[Kind::Fail, Kind::Conflict, Kind::LoseAnswer, Kind::DieBefore, Kind::DieAfter],
    }
}

/// What can become of a call to Stripe.
const OF_CALL: &[Kind] =
    &[Kind::Fail, Kind::LoseAnswer, Kind::DieBefore, Kind::DieAfter, Kind::Answer500, Kind::Limit, Kind::Garbage];

/// And of one whose answer is kept under a key.
const OF_CALL_WITH_KEY: &[Kind] = &[
    Kind::Fail,
    Kind::LoseAnswer,
    Kind::DieBefore,
    Kind::DieAfter,
    Kind::Answer500,
    Kind::Limit,
    Kind::Garbage,
    Kind::Store500,
    Kind::KeyInUse,
];

pub const fn kinds_of_call(has_key: bool) -> &'static [Kind] {
    if has_key { OF_CALL_WITH_KEY } else { OF_CALL }
}

/// What can become of a mail that is handed over.
pub const KINDS_OF_MAIL: &[Kind] = &[Kind::Fail, Kind::LoseAnswer, Kind::DieBefore, Kind::DieAfter];

/// What can become of a webhook on its way.
pub const KINDS_OF_WEBHOOK: &[Kind] = &[Kind::Lose, Kind::Twice, Kind::Late];

/// The one thing: at which step of which edge, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub edge: Edge,
    pub number: usize,
    pub kind: Kind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        write!(f, "{}:{}:{name}", self.edge.name(), self.number)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [edge, number, kind] = parts[..] else { return Err("write EDGE:NUMBER:KIND".to_owned()) };
        let edges: Vec<&str> = Edge::ALL.iter().map(|edge| edge.name()).collect();
        let kinds: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        let found = Edge::ALL.into_iter().find(|known| known.name() == edge);
        let edge = found.ok_or_else(|| format!("the edge is one of {}", edges.join(", ")))?;
        let number = number.parse().map_err(|_| "the number is that of a step, counted from 1".to_owned())?;
        let found = NAMES.iter().find(|(name, _)| *name == kind);
        let (_, kind) = found.ok_or_else(|| format!("the kind is one of {}", kinds.join(", ")))?;
        Ok(Self { edge, number, kind: *kind })
    }
}

/// A step that was taken, and what could have become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub edge: Edge,
    /// What was being done.
    pub what: String,
    pub kinds: &'static [Kind],
}

/// How the life in a world goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// Everybody does what the seed draws.
    Drawn,
    /// One customer does what customers do, and nothing goes wrong but this.
    Fixed(Option<Fault>),
}

/// What is decided of a step before chance is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here(pub(crate) Option<Kind>);

impl Here {
    pub(crate) fn is(self, kind: Kind) -> bool {
        self.0 == Some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_fault_is_read_as_the_same() {
        for (_, kind) in NAMES {
            for edge in Edge::ALL {
                let fault = Fault { edge, number: 17, kind };
                assert_eq!(fault.to_string().parse(), Ok(fault));
            }
        }
        assert_eq!("stripe:4:store-500".parse(), Ok(Fault { edge: Edge::Stripe, number: 4, kind: Kind::Store500 }));
        for text in ["", "stripe:4", "stripe:four:limit", "sea:4:limit", "stripe:4:storm", "stripe:4:limit:1"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
