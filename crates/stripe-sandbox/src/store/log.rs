//! An append-only file of changes: one line a commit, forced to the disk before the commit is acknowledged.
//!
//! A line that a crash tore off was never acknowledged and is dropped on opening; the file is then rewritten beside
//! itself and renamed, so that opening never makes anything worse.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;

/// A log smaller than this is not worth rewriting while running.
const COMPACT_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// How long a restart in one process waits for the old half to let go of the file.
const LOCK_TRIES: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

#[derive(Serialize, Deserialize)]
pub(super) struct Change {
    pub kind: Kind,
    pub id: String,
    pub number: u64,
    pub value: Option<Value>,
}

pub(super) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    compact_at: u64,
    _lock: File,
}

impl Log {
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Change>)> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let lock = lock(&beside(path, "lock"))?;
        let content = match std::fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let changes = read(&content)?;
        let file = private(OpenOptions::new().append(true).create(true)).open(path)?;
        let log = Self { path: path.to_owned(), file, bytes: 0, compact_at: COMPACT_BYTES_MIN, _lock: lock };
        Ok((log, changes))
    }

    pub(super) fn append(&mut self, changes: impl Iterator<Item = Change>) -> Result<()> {
        let mut line = serde_json::to_vec(&changes.collect::<Vec<_>>())?;
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line in the middle would hide every later one from the next start.
            self.file.set_len(self.bytes)?;
            return written;
        }
        self.bytes += line.len() as u64;
        Ok(())
    }

    pub(super) fn wants_compaction(&self) -> bool {
        self.bytes > self.compact_at
    }

    pub(super) fn rewrite(&mut self, rows: impl Iterator<Item = Change>) -> Result<()> {
        let temporary = beside(&self.path, "new");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = private(OpenOptions::new().append(true).create_new(true)).open(&temporary)?;
        let mut writer = BufWriter::new(file);
        for row in rows {
            serde_json::to_writer(&mut writer, &[row])?;
            writer.write_all(b"\n")?;
        }
        let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        // From here on the old file has no name: nothing may be appended to it.
        self.bytes = file.metadata()?.len();
        self.file = file;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        self.compact_at = COMPACT_BYTES_MIN.max(self.bytes * 2);
        Ok(())
    }
}

fn read(content: &[u8]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let complete = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    for line in content[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Vec<Change> = serde_json::from_slice(line)
            .map_err(|error| Error::new(ErrorKind::InvalidData, format!("not a sandbox state file: {error}")))?;
        changes.extend(line);
    }
    Ok(changes)
}

fn lock(path: &Path) -> Result<File> {
    let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(path)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::WouldBlock,
        "another sandbox uses this file: stop it first, or give this one a file of its own",
    ))
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

/// Webhook secrets are in the file, so only its owner may read it.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}
