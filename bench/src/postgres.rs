//! A private PostgreSQL with durability as it comes, spoken to through Debian's own `psql` and `pgbench`.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;

use crate::process::{free_port, run};
use crate::rows::{Cell, Maker, TABLES};

/// Customers that are copied in at once.
const CHUNK: u64 = 10_000;

/// Room for three replicas with eighteen connections each, and for pgbench's sixty-four beside them.
const CONNECTIONS_MAX: u32 = 200;

/// Where PostgreSQL's programs are: `PG_BIN`, or Debian's newest.
///
/// # Errors
/// Where there are none; `scripts/bench` installs them.
pub fn programs() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("PG_BIN") {
        return Ok(given.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    found.context("no initdb found: run scripts/bench, install Debian's postgresql, or set PG_BIN")
}

/// The running server.
pub struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    pub port: u16,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.folder.join("data");
        let mut stop = self.as_owner("pg_ctl");
        stop.arg("--pgdata").arg(data).args(["--mode=immediate", "--silent", "stop"]);
        // The folder goes with the whole benchmark's; a server that does not stop is told of by the log.
        let _ = run(&mut stop);
    }
}

impl Cluster {
    /// Makes a database cluster in `folder` and starts it. Durability, memory and checkpoints are PostgreSQL's defaults.
    ///
    /// # Errors
    /// With what its programs said.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let cluster = Self { programs: programs()?, folder: folder.to_owned(), port: free_port()? };
        if is_root() {
            run(Command::new("chown").arg(owner()).arg(folder))?;
        }
        let data = folder.join("data");
        let mut make = cluster.as_owner("initdb");
        make.arg("--pgdata").arg(&data);
        run(make.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]))?;
        // For a look at what the database does; a run that is quoted has none.
        let more = std::env::var("COUNTERFOIL_BENCH_POSTGRES_OPTIONS").unwrap_or_default();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories='{}' -c max_connections={CONNECTIONS_MAX} {more}",
            cluster.port,
            folder.display()
        );
        let mut start = cluster.as_owner("pg_ctl");
        start.arg("--pgdata").arg(&data).arg("--log").arg(folder.join("server.log"));
        run(start.args(["--wait", "--silent", "--options", &options, "start"]))?;
        Ok(cluster)
    }

    /// PostgreSQL refuses to run as root.
    fn as_owner(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", &owner(), "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.folder);
        command
    }

    pub fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The version, as the server tells it.
    pub fn version(&self) -> anyhow::Result<String> {
        self.connect("postgres")?.text("show server_version")
    }

    /// Makes a database, empty or as a copy of another one to which nobody is connected.
    pub fn create(&self, database: &str, template: Option<&str>) -> anyhow::Result<()> {
        let template = template.map_or_else(String::new, |template| format!(" template {template} strategy file_copy"));
        self.connect("postgres")?.text(&format!("create database {database}{template}"))?;
        Ok(())
    }

    pub fn drop_database(&self, database: &str) -> anyhow::Result<()> {
        self.connect("postgres")?.text(&format!("drop database if exists {database} with (force)"))?;
        Ok(())
    }

    pub fn connect(&self, database: &str) -> anyhow::Result<Base> {
        Base::open(self.program("psql"), self.url(database), database)
    }
}

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

pub fn owner() -> String {
    std::env::var("PG_TEST_USER").unwrap_or_else(|_| "postgres".to_owned())
}

/// One database, over one connection of `psql` that stays open: a new one for each question would cost more than the question.
pub struct Base {
    pub name: String,
    url: String,
    psql: RefCell<Psql>,
}

struct Psql {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Drop for Psql {
    fn drop(&mut self) {
        // It ends by itself once its input is closed; a copy that broke off in the middle would wait for more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `psql` prints after each answer.
const END: &str = "--end-of-answer--";

impl Base {
    fn open(mut psql: Command, url: String, name: &str) -> anyhow::Result<Self> {
        psql.arg(&url).args(["--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1"]);
        // What goes wrong ends psql, and its last words come with the answer.
        let mut child = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("psql")?;
        let input = BufWriter::new(child.stdin.take().context("psql's input")?);
        let output = BufReader::new(child.stdout.take().context("psql's output")?);
        Ok(Self { name: name.to_owned(), url, psql: RefCell::new(Psql { child, input, output }) })
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// All lines of the answer.
    pub fn lines(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let mut psql = self.psql.borrow_mut();
        write!(psql.input, "{sql};\n\\echo {END}\n")?;
        psql.input.flush()?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            anyhow::ensure!(psql.output.read_line(&mut line)? > 0, "psql refused: {sql}");
            match line.trim_end() {
                END => return Ok(lines),
                text => lines.push(text.to_owned()),
            }
        }
    }

    pub fn text(&self, sql: &str) -> anyhow::Result<String> {
        Ok(self.lines(sql)?.into_iter().next().unwrap_or_default())
    }

    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let text = self.text(sql)?;
        text.parse().with_context(|| format!("`{text}` is no number: {sql}"))
    }

    pub fn numbers(&self, sql: &str) -> anyhow::Result<Vec<i64>> {
        self.lines(sql)?.iter().map(|line| line.parse().with_context(|| format!("`{line}` is no number"))).collect()
    }

    /// Copies the rows of these customers in, and lets the housekeeping that they cause be over before a run begins.
    pub fn fill(&self, maker: &Maker<'_>, numbers: Range<u64>) -> anyhow::Result<()> {
        let mut first = numbers.start;
        while first < numbers.end {
            let rows: Vec<_> = (first..numbers.end.min(first + CHUNK)).map(|number| maker.rows(number)).collect();
            for (index, table) in TABLES.iter().enumerate() {
                let mut copy = format!("copy {} ({}) from stdin;\n", table.name, table.columns.join(", "));
                for row in rows.iter().map(|customer| &customer[index]).filter(|row| !row.is_empty()) {
                    write_line(row, &mut copy);
                }
                copy.push_str("\\.\n");
                self.psql.borrow_mut().input.write_all(copy.as_bytes())?;
            }
            self.text("select 1")?;
            first += CHUNK;
        }
        self.text("vacuum analyze")?;
        self.text("checkpoint")?;
        Ok(())
    }

    pub fn bytes(&self) -> anyhow::Result<u64> {
        let bytes = self.number("select pg_database_size(current_database())")?;
        Ok(bytes.unsigned_abs())
    }
}

/// One line of COPY's text format.
fn write_line(row: &[Cell], out: &mut String) {
    for (index, cell) in row.iter().enumerate() {
        if index > 0 {
            out.push('\t');
        }
        match cell {
            Cell::Null => out.push_str("\\N"),
            Cell::Flag(flag) => out.push(if *flag { 't' } else { 'f' }),
            Cell::Text(text) => {
                for c in text.chars() {
                    match c {
                        '\\' => out.push_str("\\\\"),
                        '\n' => out.push_str("\\n"),
                        '\t' => out.push_str("\\t"),
                        other => out.push(other),
                    }
                }
            }
            Cell::Number(number) => write!(out, "{number}").expect("text takes everything"),
            Cell::Time(time) => write!(out, "{time}").expect("text takes everything"),
        }
    }
    out.push('\n');
}

/// Opens a log that a child writes to.
pub fn log_file(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_copy_keeps_what_would_end_it() {
        let mut line = String::new();
        write_line(&[Cell::Text("a\tb\n\\".to_owned()), Cell::Null, Cell::Flag(true), Cell::Number(-1)], &mut line);
        assert_eq!(line, "a\\tb\\n\\\\\t\\N\tt\t-1\n");
    }
}
