//! CPU time and peak memory of one child process.
//!
//! The kernel tells them of all children together, and of memory the peak of the largest. So each child is started
//! by a process in between that has no other child: this benchmark again, with [`IN_BETWEEN`] as its first
//! argument. It has to be small, too: what a process had before it became another program counts as its own
//! peak, and the benchmark itself holds the whole history.

#![allow(dead_code, reason = "each benchmark runs programs of some kinds")]

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The first argument of the process in between; the exit status that is wanted, the file for the program's output, the program
/// and its arguments follow.
const IN_BETWEEN: &str = "--measure";

/// What one run took.
pub(crate) struct Measured {
    pub(crate) wall_seconds: f64,
    /// User and system.
    pub(crate) cpu_seconds: f64,
    /// Largest resident set.
    pub(crate) peak_bytes: f64,
}

/// The program under measurement, for [`run`]. It must succeed, and what it prints is thrown away.
pub(crate) fn command(program: &Path) -> anyhow::Result<Command> {
    command_into(program, 0, Path::new("/dev/null"))
}

/// The same for a program that must end with this exit status and whose standard output goes to a file.
pub(crate) fn command_into(program: &Path, status: i32, output: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(IN_BETWEEN).arg(status.to_string());
    command.arg(output).arg(program);
    Ok(command)
}

/// Runs it, and reads what the process in between has measured.
pub(crate) fn run(mut command: Command) -> anyhow::Result<Measured> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the measured program failed");
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [wall_seconds, cpu_seconds, peak_bytes] = figures[..] else {
        anyhow::bail!("three figures are wanted, not `{text}`");
    };
    Ok(Measured {
        wall_seconds,
        cpu_seconds,
        peak_bytes,
    })
}

/// The work of the process in between; nothing if this is not it.
pub(crate) fn in_between() -> Option<anyhow::Result<()>> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == IN_BETWEEN).then(|| {
        let wanted = arguments.next().context("an exit status is wanted")?;
        let output = arguments.next().context("a file is wanted")?;
        let program = arguments.next().context("a program is wanted")?;
        let output = File::create(output)?;
        let started = Instant::now();
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .status()?;
        let wall = started.elapsed().as_secs_f64();
        let code = status.code().map(|code| code.to_string());
        ensure!(code.as_deref() == wanted.to_str(), "{status}");
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
        // Linux counts in kibibytes.
        super::table::say(&format!("{wall} {cpu} {}", usage.max_rss() * 1024));
        Ok(())
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds and microseconds of a short run are small numbers"
)]
fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}
