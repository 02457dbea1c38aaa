//! What `sync` costs, and how fast the handler starts: `cargo bench`. One short round: `cargo bench -- --quick`.
//! Another build of the program, such as the static one: `cargo bench -- --program FILE`.
//!
//! The release binary archives 50,000 plays from a fake Last.fm on loopback that answers at once. Figures are
//! printed beside their goals and never asserted: a busy machine is no mistake of the program. What must hold on
//! any machine, that all plays arrive, stops the benchmark.
//!
//! The fake is a thread of this process, so its work does not count. The child's work is measured by a process in
//! between ([`measure`]).

#[path = "shared/measure.rs"]
mod measure;
#[path = "shared/table.rs"]
mod table;

use anyhow::{Context, ensure};
use fake_lastfm::{LastFm, Server, histories};
use measure::Measured;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use table::{Goal, row, say};

/// The program, built with this benchmark's profile. Measured unless another one is named.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lastfm-archive");
/// A directory for archives on a disk, below Cargo's target directory.
const DISK: &str = env!("CARGO_TARGET_TMPDIR");
/// A directory in memory, where Linux has it: there waiting for the disk hides nothing of the program's own time.
const MEMORY: &str = "/dev/shm";

/// The end of the made-up history, and ten years.
const NEWEST: i64 = 1_750_000_000;
const HISTORY_SECONDS: i64 = 3_652 * 86_400;

/// The handler answers within milliseconds; after this long something is broken.
const START_TIME_MAX: Duration = Duration::from_secs(10);

const MEGABYTE: f64 = 1e6;

/// How much is done.
struct Size {
    plays: usize,
    rounds: usize,
    starts: usize,
    /// Goals are for the full size only.
    judged: bool,
}

const FULL: Size = Size {
    plays: 50_000,
    rounds: 5,
    starts: 20,
    judged: true,
};
const QUICK: Size = Size {
    plays: 3_000,
    rounds: 1,
    starts: 1,
    judged: false,
};

fn main() -> ExitCode {
    if let Some(result) = measure::in_between() {
        return exit(&result);
    }
    // `cargo bench` says `--bench`; `cargo test --benches` does not.
    let wants = |flag: &str| std::env::args().any(|argument| argument == flag);
    let full = wants("--bench") && !wants("--quick") && !wants("--test");
    let named = std::env::args()
        .skip_while(|argument| argument != "--program")
        .nth(1);
    let program = named.unwrap_or_else(|| PROGRAM.to_owned());
    exit(&run(if full { &FULL } else { &QUICK }, Path::new(&program)))
}

fn exit(result: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

fn run(size: &Size, program: &Path) -> anyhow::Result<()> {
    let mut lastfm = LastFm::new();
    let oldest = NEWEST - HISTORY_SECONDS;
    lastfm.add_user("alice", histories::made_up(1, size.plays, oldest, NEWEST));
    let server = Server::start(lastfm)?;
    // The server writes each row once and keeps it: from here on every round finds them ready.
    fetch_only(&server, size.plays, 1_000)?;

    for page_size in [200, 1_000] {
        sync(&server, size, program, page_size)?;
    }
    say("\nprogram");
    binary_size("this one", program, None)?;
    let target = Path::new(DISK)
        .parent()
        .context("Cargo's target directory")?;
    let musl = target.join("x86_64-unknown-linux-musl/release/lastfm-archive");
    if musl.is_file() {
        binary_size("static (musl)", &musl, Some(6.0))?;
    }
    let starts = (0..size.starts)
        .map(|_| start(program))
        .collect::<Result<_, _>>()?;
    row(
        "start of `serve` to first answer",
        "ms",
        starts,
        Goal::Below(5.0).if_judged(size.judged),
    );
    Ok(())
}

/// Turn by turn only the pages, an archive in memory and one on disk, so that a busy moment meets all of them.
fn sync(server: &Server, size: &Size, program: &Path, page_size: usize) -> anyhow::Result<()> {
    let (mut fetches, mut in_memory, mut on_disk) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut peaks, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let memory = if Path::new(MEMORY).is_dir() {
        MEMORY
    } else {
        DISK
    };
    for _ in 0..size.rounds {
        let fetch = fetch_only(server, size.plays, page_size)?.as_secs_f64();
        fetches.push(fetch);
        for (counts, parent) in [(true, memory), (false, DISK)] {
            let before = server.with(|lastfm| lastfm.log.total());
            let archive = tempfile::tempdir_in(parent)?;
            let measured = sync_once(server, program, archive.path(), page_size)?;
            let asked = server.with(|lastfm| lastfm.log.total()) - before;
            let archived = lines_below(archive.path())?;
            ensure!(
                archived == size.plays,
                "{archived} of {} plays were archived",
                size.plays
            );
            if counts {
                in_memory.push(measured.wall_seconds / fetch);
                cpu.push(measured.cpu_seconds);
                peaks.push(measured.peak_bytes / MEGABYTE);
                requests.push(f64::from(u32::try_from(asked)?));
            } else {
                on_disk.push(measured.wall_seconds / fetch);
            }
        }
    }
    say(&format!(
        "\n`sync` of {} plays in pages of {page_size}, {} rounds",
        size.plays, size.rounds
    ));
    let most = if page_size == 200 { 255.0 } else { 51.0 };
    let at_most = |most| Goal::AtMost(most).if_judged(size.judged);
    row("fetching the same pages only", "s", fetches, Goal::None);
    row(
        "wall time to fetching only",
        "times",
        in_memory,
        at_most(2.0),
    );
    row(
        "the same with an archive on disk",
        "times",
        on_disk,
        at_most(2.0),
    );
    row("CPU, user and system", "s", cpu, at_most(0.2));
    row("peak memory", "MB", peaks, at_most(11.0));
    row("requests", "", requests, at_most(most));
    Ok(())
}

/// Only what nobody can do without: each page, one after the other, the whole body.
fn fetch_only(server: &Server, plays: usize, page_size: usize) -> anyhow::Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // reqwest makes no client without a provider of cryptography, though none is used here. Fails the second time.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = server.url();
    server.with(|lastfm| lastfm.log.clear());
    let started = Instant::now();
    runtime.block_on(async {
        for page in 1..=plays.div_ceil(page_size) {
            let query = format!(
                "{url}?method=user.getRecentTracks&user=alice&api_key=any&format=json&limit={page_size}&page={page}&to={}",
                NEWEST + 1
            );
            let body = client.get(query).send().await?.error_for_status()?.bytes().await?;
            ensure!(body.ends_with(b"}"), "page {page} is not whole");
        }
        Ok(())
    })?;
    let took = started.elapsed();
    let rows: usize =
        server.with(|lastfm| lastfm.log.entries().iter().map(|entry| entry.rows).sum());
    ensure!(rows == plays, "{rows} of {plays} plays were fetched");
    Ok(took)
}

fn sync_once(
    server: &Server,
    program: &Path,
    archive: &Path,
    page_size: usize,
) -> anyhow::Result<Measured> {
    let arguments: [OsString; 5] = [
        "sync".into(),
        "alice".into(),
        "--quiet".into(),
        "--archive".into(),
        archive.into(),
    ];
    let mut command = measure::command(program)?;
    command
        .args(arguments)
        .env_clear()
        .env("LASTFM_API_KEY", "any")
        .env("LASTFM_API_URL", server.url())
        .env("LASTFM_REQUESTS_PER_SECOND", "0")
        .env("LASTFM_PAGE_SIZE", page_size.to_string());
    measure::run(command)
}

fn lines_below(directory: &Path) -> anyhow::Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            lines += lines_below(&path)?;
        } else {
            lines += fs::read(&path)?.split(|byte| *byte == b'\n').count() - 1;
        }
    }
    Ok(lines)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no program has more bytes than a float can count"
)]
fn binary_size(what: &str, file: &Path, goal: Option<f64>) -> anyhow::Result<()> {
    let megabytes = fs::metadata(file)?.len() as f64 / MEGABYTE;
    let goal = goal.map_or(Goal::None, Goal::AtMost);
    row(&format!("size, {what}"), "MB", vec![megabytes], goal);
    Ok(())
}

/// A child that does not outlive its variable.
struct Handler(Child);

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Milliseconds from the start of `serve` to the first byte of its answer, asked as the Functions host asks.
fn start(program: &Path) -> anyhow::Result<f64> {
    // Free now; nobody else takes it within milliseconds, and if so the benchmark says so.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let started = Instant::now();
    let child = Command::new(program)
        .arg("serve")
        .env_clear()
        .env("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string())
        .env("LASTFM_API_KEY", "any")
        .env("LASTFM_USERS", "alice")
        .env("AzureWebJobsStorage", "UseDevelopmentStorage=true")
        .stdout(Stdio::null())
        .spawn()?;
    let _handler = Handler(child);
    let mut connection = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(connection) => break connection,
            Err(error) if started.elapsed() > START_TIME_MAX => return Err(error.into()),
            // Nothing tells when it listens; asking again costs less than any pause.
            Err(_) => std::thread::yield_now(),
        }
    };
    connection.set_read_timeout(Some(START_TIME_MAX))?;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer)?;
    let took = started.elapsed();
    ensure!(&answer == b"HTTP/1.1 200", "`serve` did not answer 200");
    Ok(took.as_secs_f64() * 1_000.0)
}
