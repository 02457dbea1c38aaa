//! What `verify` costs: `cargo bench --bench verify`. One short round: `cargo bench --bench verify -- --quick`.
//!
//! The release binary archives 180,000 plays of ten years into a directory, from a fake Last.fm on loopback that answers at
//! once. Then plays come late, are removed and are edited, and `verify` has to find exactly these. Figures are printed beside
//! their goals and never asserted: a busy machine is no mistake of the program. What must hold on any machine stops the
//! benchmark: what is found, and how often Last.fm is asked.
//!
//! The fake is a thread of this process, so its work does not count. The child's work is measured by a process in between
//! ([`measure`]).

#[path = "shared/measure.rs"]
mod measure;
#[path = "shared/table.rs"]
mod table;

use anyhow::{Context, ensure};
use fake_lastfm::{LastFm, Play, Server, histories};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};
use table::{Goal, row, say};

/// The program, built with this benchmark's profile.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lastfm-archive");
/// A directory for archives on a disk, below Cargo's target directory.
const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// The end of the made-up history, and ten years.
const NEWEST: i64 = 1_750_000_000;
const HISTORY_SECONDS: i64 = 3_652 * 86_400;

/// Plays a page, and pages a look, as without a setting.
const PAGE_SIZE: usize = 200;
const PAGES_PER_LOOK: usize = 40;

const MEGABYTE: f64 = 1e6;

/// How much is done.
struct Size {
    plays: usize,
    rounds: usize,
    /// Goals are for the full size only.
    judged: bool,
}

const FULL: Size = Size {
    plays: 180_000,
    rounds: 3,
    judged: true,
};
const QUICK: Size = Size {
    plays: 4_000,
    rounds: 1,
    judged: false,
};

/// What a verification must say.
struct Expected {
    missing: usize,
    vanished: usize,
    requests_max: usize,
}

/// One way to verify.
struct Scene<'a> {
    title: &'a str,
    arguments: &'a [&'a str],
    status: i32,
    expected: Expected,
    rounds: usize,
}

fn main() -> ExitCode {
    if let Some(result) = measure::in_between() {
        return exit(&result);
    }
    // `cargo bench` says `--bench`; `cargo test --benches` does not.
    let wants = |flag: &str| std::env::args().any(|argument| argument == flag);
    let full = wants("--bench") && !wants("--quick") && !wants("--test");
    exit(&run(if full { &FULL } else { &QUICK }))
}

fn exit(result: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::FAILURE
}

fn run(size: &Size) -> anyhow::Result<()> {
    let oldest = NEWEST - HISTORY_SECONDS;
    let history = histories::made_up(1, size.plays, oldest, NEWEST);
    let months = by_month(&history)?;
    let mut lastfm = LastFm::new();
    lastfm.add_user("alice", history);
    let server = Server::start(lastfm)?;
    let folder = tempfile::tempdir_in(DISK)?;
    let bench = Bench {
        server: &server,
        folder: folder.path(),
        judged: size.judged,
    };
    let archived = bench.sync()?;
    say(&format!(
        "\n{} plays in {} months, archived in {archived:.1} s",
        size.plays,
        months.len()
    ));

    // A request for each month, and one for the profile.
    let counting = months.len() + 1;
    bench.verify(&Scene {
        title: "by count, nothing differs",
        arguments: &[],
        status: 0,
        expected: Expected {
            missing: 0,
            vanished: 0,
            requests_max: counting,
        },
        rounds: size.rounds,
    })?;

    // In three months, so that nothing cancels.
    let places: Vec<usize> = [4, 2, 1].map(|part| size.plays * part / 5).to_vec();
    let windows = places
        .iter()
        .map(|place| bench.month_of(*place))
        .collect::<anyhow::Result<Vec<String>>>()?;
    ensure!(
        windows.windows(2).all(|pair| pair[0] != pair[1]),
        "two changes are in one month"
    );
    server.with(|lastfm| {
        let history = &mut lastfm.user_mut("alice").history;
        history.delete(places[0]);
        let uts = history.get(places[1]).map_or(0, |play| play.uts);
        history.add(Play::new(uts + 1, "Late Artist", "Late Track"));
    });
    // Twice the logarithm of the window for each difference.
    let halving: usize = windows[..2]
        .iter()
        .map(|month| 2 * log2(months[month]))
        .sum();
    bench.verify(&Scene {
        title: "by count, one late play and one removed",
        arguments: &[],
        status: 3,
        expected: Expected {
            missing: 1,
            vanished: 1,
            requests_max: counting + halving,
        },
        rounds: size.rounds,
    })?;

    server.with(|lastfm| {
        let history = &mut lastfm.user_mut("alice").history;
        history.edit(places[2], |play| play.track.push_str(" (edited)"));
    });
    let pages = size.plays.div_ceil(PAGE_SIZE);
    // Each look may ask once more to learn the numbers and once at its seam; the end and the profile are asked for as well.
    let deep = pages + 2 * pages.div_ceil(PAGES_PER_LOOK) + 8;
    bench.verify(&Scene {
        title: "play by play, one edited as well",
        arguments: &["--deep"],
        status: 3,
        expected: Expected {
            missing: 2,
            vanished: 2,
            requests_max: deep,
        },
        rounds: size.rounds,
    })?;
    bench.verify(&Scene {
        title: "play by play, all of it repaired",
        arguments: &["--deep", "--repair"],
        status: 0,
        expected: Expected {
            missing: 2,
            vanished: 2,
            // The sync, and a second look at what is gone.
            requests_max: deep + 8,
        },
        rounds: 1,
    })?;
    bench.verify(&Scene {
        title: "by count, behind the repair",
        arguments: &[],
        status: 0,
        expected: Expected {
            missing: 0,
            vanished: 0,
            requests_max: counting,
        },
        rounds: 1,
    })
}

/// How many plays each month has, by its name.
fn by_month(history: &[Play]) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut months = BTreeMap::new();
    for play in history {
        *months.entry(month(play.uts)?).or_default() += 1;
    }
    Ok(months)
}

fn month(uts: i64) -> anyhow::Result<String> {
    let played = jiff::Timestamp::from_second(uts)?;
    Ok(played.strftime("%Y-%m").to_string())
}

/// Rounded up.
fn log2(number: usize) -> usize {
    number.next_power_of_two().trailing_zeros() as usize
}

struct Bench<'a> {
    server: &'a Server,
    /// Around the archive.
    folder: &'a Path,
    judged: bool,
}

impl Bench<'_> {
    fn prepare(&self, mut command: Command, verb: &str) -> Command {
        command
            .args([verb, "alice", "--quiet", "--archive"])
            .arg(self.folder.join("archive"))
            .env_clear()
            .env("LASTFM_API_KEY", "any")
            .env("LASTFM_API_URL", self.server.url())
            .env("LASTFM_REQUESTS_PER_SECOND", "0");
        command
    }

    /// Archives everything; gives the seconds.
    fn sync(&self) -> anyhow::Result<f64> {
        let command = measure::command(Path::new(PROGRAM))?;
        let mut command = self.prepare(command, "sync");
        command.env("LASTFM_PAGE_SIZE", "1000");
        Ok(measure::run(command)?.wall_seconds)
    }

    fn month_of(&self, place: usize) -> anyhow::Result<String> {
        let uts = self.server.with(|lastfm| {
            let history = &lastfm.user("alice").history;
            history.get(place).map(|play| play.uts)
        });
        month(uts.context("no play there")?)
    }

    fn verify(&self, scene: &Scene<'_>) -> anyhow::Result<()> {
        let (mut seconds, mut cpu, mut peaks, mut requests) = (vec![], vec![], vec![], vec![]);
        let told = self.folder.join("told.json");
        for _ in 0..scene.rounds {
            let before = self.server.with(|lastfm| lastfm.log.total());
            let command = measure::command_into(Path::new(PROGRAM), scene.status, &told)?;
            let mut command = self.prepare(command, "verify");
            command.arg("--json").args(scene.arguments);
            let measured = measure::run(command).context(scene.title.to_owned())?;
            let asked = self.server.with(|lastfm| {
                let asked = lastfm.log.total() - before;
                lastfm.log.clear();
                asked
            });
            let verdict: Value = serde_json::from_slice(&fs::read(&told)?)?;
            scene.check(&verdict, asked)?;
            seconds.push(measured.wall_seconds);
            cpu.push(measured.cpu_seconds);
            peaks.push(measured.peak_bytes / MEGABYTE);
            requests.push(f64::from(u32::try_from(asked)?));
        }
        say(&format!(
            "\n`verify` {}, {} rounds",
            scene.title, scene.rounds
        ));
        let most = f64::from(u32::try_from(scene.expected.requests_max)?);
        row("requests", "", requests, Goal::AtMost(most));
        let memory = Goal::Below(100.0).if_judged(self.judged);
        row("peak memory", "MB", peaks, memory);
        row("CPU, user and system", "s", cpu, Goal::None);
        row("wall time", "s", seconds, Goal::None);
        Ok(())
    }
}

impl Scene<'_> {
    /// Exactly what was planted was found, and Last.fm was asked no more often than it may be.
    fn check(&self, verdict: &Value, asked: usize) -> anyhow::Result<()> {
        let Expected {
            missing,
            vanished,
            requests_max,
        } = self.expected;
        let title = self.title;
        ensure!(
            verdict["missing"] == missing && verdict["vanished"] == vanished,
            "{title}: {missing} missing and {vanished} vanished are wanted, not {verdict}"
        );
        ensure!(verdict["newer"] == 0, "{title}: {verdict}");
        ensure!(
            verdict["requests"] == asked || self.arguments.contains(&"--repair"),
            "{title}: {asked} requests, which are told as {}",
            verdict["requests"]
        );
        ensure!(
            asked <= requests_max,
            "{title}: {asked} requests, at most {requests_max} are wanted"
        );
        Ok(())
    }
}
