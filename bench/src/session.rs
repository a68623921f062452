//! One call of the benchmark: what was asked for, in rounds, into the book.

use std::time::Duration;

use crate::bare;
use crate::book::{Book, Series};
use crate::cli::{Options, What};
use crate::database::Engine;
use crate::limits::{self, BARE_HTTP};
use crate::once;
use crate::pgbench::Script;
use crate::process::load_average;
use crate::reads::{self, Read};
use crate::scale;
use crate::stage::Bench;
use crate::webhooks;
use crate::work::Rows;

/// Connections at which acknowledgements and reads are measured.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Connections of what is measured once: so many that both cores are busy, so few that nobody is turned away.
const BUSY: usize = 16;

/// Events of a burst where `--quick` is given.
const QUICK_BURST: u64 = 3_000;

/// Customers of `size` where `--quick` is given.
const QUICK_SIZES: [u64; 2] = [5_000, 20_000];

/// Measures what was asked for.
pub struct Session<'a> {
    bench: &'a Bench,
    options: &'a Options,
    what: What,
    time: Duration,
    pub book: Book,
}

impl<'a> Session<'a> {
    pub fn new(bench: &'a Bench, options: &'a Options, what: What) -> Self {
        Self { bench, options, what, time: options.time(), book: Book::default() }
    }

    /// Whether this part is wanted.
    fn wants(&self, part: What) -> bool {
        self.what == What::All || self.what == part
    }

    /// The two sizes of `size`, where that is what is asked for.
    pub fn sizes(&self) -> Option<[u64; 2]> {
        match self.what {
            What::Size { .. } if self.options.quick => Some(QUICK_SIZES),
            What::Size { large, small } => Some([small, large]),
            _ => None,
        }
    }

    /// All rounds.
    ///
    /// # Errors
    /// Only where nothing can be measured at all; a run that fails is noted in the book.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        if let Some(sizes) = self.sizes() {
            for engine in self.options.engines() {
                self.book.loads.push(load_average());
                scale::sizes(self.bench, &mut self.book, engine, sizes, self.options.rounds(), self.time).await?;
            }
            return Ok(());
        }
        let only_once = matches!(self.what, What::Burst { .. } | What::Storage | What::Scale);
        for round in 1..=if only_once { 0 } else { self.options.rounds() } {
            let load = load_average();
            eprintln!("round {round}, load average {load:.2}");
            self.book.loads.push(load);
            self.machine().await;
            for engine in self.options.engines() {
                self.webhooks(engine).await;
                self.customers(engine).await;
                self.counted(engine).await;
            }
        }
        self.long().await;
        Ok(())
    }

    /// What the machine can do.
    async fn machine(&mut self) {
        let wanted = [What::Limits, What::Signup, What::Login].map(|part| self.wants(part));
        if wanted.contains(&true) {
            limits::mathematics(&mut self.book, self.time);
        }
        let wanted = [What::Limits, What::Refresh, What::Validate].map(|part| self.wants(part));
        if wanted.contains(&true) {
            let speed = match reads::refresh_sizes(self.bench, self.options.engines()[0]).await {
                Ok(sizes) => bare::requests_per_second(&sizes, 64, self.time).await,
                Err(error) => Err(error),
            };
            self.book.number(BARE_HTTP, speed);
        }
    }

    async fn webhooks(&mut self, engine: Engine) {
        let (bench, time, word) = (self.bench, self.time, engine.word());
        if self.wants(What::Webhook) {
            match engine {
                Engine::Sqlite => limits::sqlite_loop(bench, &mut self.book, Rows::Inbox, time),
                Engine::Postgres => limits::pgbench(bench, &mut self.book, Script::Insert, 64, time),
            }
            for connections in CONNECTIONS {
                let run = webhooks::acknowledged(bench, engine, connections, time).await;
                self.book.note(Series::new("webhook acknowledged", word, connections), run);
            }
        }
        if self.wants(What::License) {
            match engine {
                Engine::Sqlite => limits::sqlite_loop(bench, &mut self.book, Rows::All, time),
                Engine::Postgres => {
                    limits::pgbench(bench, &mut self.book, Script::Transaction, 16, time);
                    limits::pgbench(bench, &mut self.book, Script::Statement, 16, time);
                }
            }
            let events = self.options.followed_events();
            for connections in CONNECTIONS {
                let run = webhooks::followed(bench, engine, connections, events).await;
                let run = run.map(|run| run.licenses);
                self.book.note(Series::new("webhook to license", word, connections), run);
            }
        }
    }

    async fn customers(&mut self, engine: Engine) {
        let (bench, time, word) = (self.bench, self.time, engine.word());
        for (part, read) in
            [(What::Refresh, Read::Refresh), (What::Validate, Read::Validate), (What::Jwks, Read::KeySet)]
        {
            if self.wants(part) {
                for connections in CONNECTIONS {
                    let run = reads::read(bench, engine, read, connections, time).await;
                    self.book.note(Series::new(read.word(), word, connections), run);
                }
            }
        }
        if self.wants(What::Login) {
            let run = reads::read(bench, engine, Read::Login, BUSY, time).await;
            self.book.note(Series::new(Read::Login.word(), word, BUSY), run);
        }
        if self.wants(What::Signup) {
            let run = reads::sign_up(bench, engine, BUSY, time).await;
            self.book.note(Series::new("sign-up", word, BUSY), run);
        }
        if self.wants(What::Checkout) {
            let run = reads::checkout(bench, engine, BUSY, time).await;
            self.book.note(Series::new("first checkout", word, BUSY), run);
        }
        if self.wants(What::Mixed) {
            let run = reads::mixed(bench, engine, BUSY, time).await;
            self.book.note(Series::new("mixed", word, BUSY), run);
        }
        if self.wants(What::Argon2) {
            let (events, sign_ups) = match reads::beside_argon2(bench, engine, BUSY, time).await {
                Ok((events, sign_ups)) => (Ok(events), Some(sign_ups)),
                Err(error) => (Err(error), None),
            };
            self.book.note(Series::new("acknowledged beside sign-ups", word, BUSY), events);
            if let Some(sign_ups) = sign_ups {
                self.book.note(Series::new("those sign-ups", word, BUSY), Ok(sign_ups));
            }
        }
    }

    async fn counted(&mut self, engine: Engine) {
        if self.wants(What::Start) {
            once::start(self.bench, &mut self.book, engine).await;
            once::binary(self.bench, &mut self.book);
        }
        if self.wants(What::Calls) {
            once::stripe_calls(self.bench, &mut self.book, engine).await;
        }
    }

    /// What takes long and is done once.
    async fn long(&mut self) {
        self.book.loads.push(load_average());
        let burst = match self.what {
            What::Burst { .. } | What::All if self.options.quick => Some(QUICK_BURST),
            What::Burst { events } => Some(events),
            What::All => Some(100_000),
            _ => None,
        };
        for engine in self.options.engines() {
            if self.wants(What::Storage) {
                once::storage(self.bench, &mut self.book, engine).await;
            }
            if let Some(events) = burst {
                self.burst(engine, events).await;
            }
        }
        if self.wants(What::Scale) && self.options.engines().contains(&Engine::Postgres) {
            let events = self.options.followed_events();
            scale::replicas(self.bench, &mut self.book, self.time, events).await;
        }
    }

    async fn burst(&mut self, engine: Engine, events: u64) {
        let name = |what: &str| Series::new(format!("burst of {events} events: {what}"), engine.word(), 64);
        match webhooks::followed(self.bench, engine, 64, events).await {
            Ok(run) => {
                self.book.note(name("acknowledged"), Ok(run.acknowledgements));
                self.book.note(name("to license"), Ok(run.licenses));
                let drained =
                    format!("burst of {events} events, {}: last license after the last answer [s]", engine.word());
                self.book.number(&drained, Ok(run.drained_after_seconds));
            }
            Err(error) => self.book.note(name("to license"), Err(error)),
        }
    }
}
