//! Child processes, and what the kernel says of them.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The kernel counts a process's time in hundredths of a second, on every Linux that matters here.
const TICK_MICROS: f64 = 10_000.0;

const KIB_PER_MIB: f64 = 1024.0;

/// A loopback port that nobody listens on at this moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Runs a command to its end and answers what it printed.
///
/// # Errors
/// Where it cannot be run or fails; with what it said.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("{name} cannot be run"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let complained = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "{name} failed ({}): {said}{complained}", done.status);
    Ok(said + &complained)
}

/// CPU time of a process so far, in microseconds, user and system.
pub fn cpu_micros(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the server's process is gone")?;
    ticks(&stat).map(|ticks| ticks * TICK_MICROS).context("/proc says something unknown")
}

/// User and system time are the fourteenth and the fifteenth word; the second one is a name in parentheses that may hold spaces.
fn ticks(stat: &str) -> Option<f64> {
    let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(words.get(11)?.parse::<f64>().ok()? + words.get(12)?.parse::<f64>().ok()?)
}

/// Resident memory of a process in MiB: now, and at its most.
pub fn memory_mib(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the server's process is gone")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok().map(|kib| kib / KIB_PER_MIB)
    };
    of("VmRSS:").zip(of("VmHWM:")).context("/proc says something unknown")
}

/// The load average of the last minute.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// What the processor calls itself.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|line| line.split_once(':')).map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Ends a process as an operator would, and waits for it.
pub fn terminate(child: &mut Child) {
    let asked = run(Command::new("kill").arg("-TERM").arg(child.id().to_string()));
    let deadline = Instant::now() + Duration::from_secs(15);
    while asked.is_ok() && Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Whatever is left of it is of no use to anybody.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_moves_no_number() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 100";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(ticks("42 S"), None);
    }

    #[test]
    fn a_process_knows_its_own_memory() {
        let (now, most) = memory_mib(std::process::id()).unwrap();
        assert!(now > 0.0 && most >= now);
    }
}
