//! The whole job on this machine, with nothing but Rust: `cargo run --example demo`.
//!
//! A made-up Last.fm with three users is archived into a directory. Half-way the archiving process is killed; it is
//! started again, new plays come in, it runs once more. At the end every line on disk is compared with the made-up
//! history, by code that shares nothing with the program ([`check`]).
//!
//! An example builds no binary of the package, so this one starts itself as the archiving process: with
//! [`SERVER`] in its environment it is the command line of `lastfm-archive` and nothing else.

#[path = "demo/check.rs"]
mod check;

use anyhow::{Context, bail, ensure};
use fake_lastfm::{LastFm, Play, Server, histories};
use indicatif::{HumanBytes, HumanCount};
use lastfm_archive::clock::Clock;
use lastfm_archive::commands;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

/// Address of the made-up Last.fm. Where it is set, this process archives.
const SERVER: &str = "LASTFM_ARCHIVE_DEMO_SERVER";

/// The users: name, plays, and over how many days until today.
const USERS: [(&str, usize, i64); 3] = [
    ("alice", 16_000, 3_600),
    ("bob", 9_000, 1_500),
    ("carol", 4_000, 400),
];

/// Slow enough to watch, fast enough not to wait. The real Last.fm is asked four times a second.
const REQUESTS_PER_SECOND: &str = "16";
const PLAYS_PER_PAGE: usize = 200;
const PAGES_PER_ITEM: &str = "10";

/// Half of the pages are served long before; a machine that needs longer has a problem that deserves words.
const HALF_TIME_MAX: Duration = Duration::from_mins(2);
/// How often the wait for the half looks whether the archiving process is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[expect(
    clippy::disallowed_methods,
    reason = "it starts itself, and this is how it knows"
)]
fn main() -> ExitCode {
    if let Some(server) = std::env::var_os(SERVER) {
        return archive(&server.to_string_lossy());
    }
    match demonstrate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::stdout().flush();
            let _ = writeln!(io::stderr(), "\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The archiving process: the command line of `lastfm-archive`, with settings that nothing on this machine changes.
fn archive(server: &str) -> ExitCode {
    std::thread::spawn(end_with_the_parent);
    let users = USERS.map(|(name, ..)| name).join(",");
    commands::run(std::env::args_os(), &|setting| {
        let value = match setting {
            "LASTFM_API_KEY" => "any-key-will-do",
            "LASTFM_API_URL" => server,
            "LASTFM_REQUESTS_PER_SECOND" => REQUESTS_PER_SECOND,
            "LASTFM_USERS" => &users,
            "PAGES_PER_ITEM" => PAGES_PER_ITEM,
            _ => return None,
        };
        Some(value.to_owned())
    })
    .into()
}

/// Standard input is a pipe from the parent that nobody writes to: it ends when the parent does, however that is.
#[expect(
    clippy::exit,
    reason = "the parent is gone and nobody waits for an answer"
)]
fn end_with_the_parent() {
    let _ = io::stdin().read(&mut [0]);
    std::process::exit(2);
}

/// An archiving process that does not outlive its variable.
struct Archiving(Child);

impl Drop for Archiving {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Archiving {
    fn start(server: &Server, directory: &Path) -> anyhow::Result<Self> {
        let arguments = ["sync".into(), "--archive".into(), OsString::from(directory)];
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env(SERVER, server.url())
            // A proxy for the wide world cannot reach this machine's loopback address.
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the archiving process")?;
        Ok(Self(child))
    }

    /// Waits until so many requests have come in all, and kills the process without a warning.
    fn kill_after(mut self, requests: usize, server: &Server) -> anyhow::Result<()> {
        let mut waited = Duration::ZERO;
        while !server.wait_until(LOOK_INTERVAL, |lastfm| lastfm.log.total() >= requests) {
            if let Some(status) = self.0.try_wait()? {
                bail!("the archiving process ended by itself, before it was half done: {status}");
            }
            waited += LOOK_INTERVAL;
            ensure!(
                waited < HALF_TIME_MAX,
                "the archiving process was not half done after {} s",
                HALF_TIME_MAX.as_secs()
            );
        }
        self.0.kill()?;
        self.0.wait()?;
        if io::stderr().is_terminal() {
            // It left its progress bar behind.
            let _ = writeln!(io::stderr());
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        // The pipe stays open until then: closing it would end the process.
        let keep = self.0.stdin.take();
        let status = self.0.wait()?;
        drop(keep);
        ensure!(status.success(), "the archiving process failed: {status}");
        Ok(())
    }
}

fn demonstrate() -> anyhow::Result<()> {
    let directory = fresh_directory()?;
    let archive = shortest(&directory);
    say(
        "lastfm-archive: a demonstration. It needs no account and touches nothing but one new directory.\n",
    );

    let server = Server::start(made_up_lastfm()).context("cannot start the made-up Last.fm")?;
    say(&format!("1. A made-up Last.fm answers at {}", server.url()));
    introduce(&server);

    say(&format!(
        "\n2. `lastfm-archive sync` archives it into {}, at {REQUESTS_PER_SECOND} requests a second",
        archive.display()
    ));
    let half = pages(&server) / 2;
    Archiving::start(&server, &directory)?.kill_after(half, &server)?;
    let left_behind = check::read(&directory)?;
    ensure!(
        left_behind.plays() > 0,
        "nothing was archived by the time of half of the pages"
    );
    say(&format!(
        "\n3. Killed (SIGKILL) after {half} pages, half of them: {} plays in {} files are on disk",
        HumanCount(left_behind.plays() as u64),
        left_behind.files
    ));

    say(
        "\n4. Started again: the newest line of each user says where to go on, there is no other checkpoint",
    );
    Archiving::start(&server, &directory)?.finish()?;

    let added = add_plays(&server);
    say(&format!(
        "\n5. Last.fm gets {added} new plays, two of them in the very second that alice's archive ends with; once more"
    ));
    Archiving::start(&server, &directory)?.finish()?;

    say("\n6. Every line on disk is compared with what was played at the made-up Last.fm");
    compare(&server, &directory)?;

    say(&format!(
        "\nThe archive stays in {}. Look at it:\n",
        archive.display()
    ));
    suggest(&archive);
    Ok(())
}

/// Below Cargo's target directory, where this example lies, so that `cargo clean` removes it; the system's
/// temporary directory when it lies elsewhere. A name of its own for each run.
fn fresh_directory() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program
        .parent()
        .filter(|directory| directory.ends_with("examples"))
        .and_then(|examples| examples.ancestors().nth(2));
    let parent = target.map_or_else(std::env::temp_dir, Path::to_owned);
    let directory = tempfile::Builder::new()
        .prefix("demo-")
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a directory in `{}`", parent.display()))?;
    Ok(directory.keep())
}

/// The path as a person would type it.
fn shortest(directory: &Path) -> PathBuf {
    std::env::current_dir()
        .ok()
        .and_then(|here| directory.strip_prefix(here).ok())
        .unwrap_or(directory)
        .to_owned()
}

fn made_up_lastfm() -> LastFm {
    let mut lastfm = LastFm::new();
    // Somewhat before now, so that there is time for new plays.
    let newest = Clock::system().now() - 3_600;
    for (seed, (name, plays, days)) in (1..).zip(USERS) {
        let history = histories::made_up(seed, plays, newest - days * 86_400, newest);
        lastfm.add_user(name, history);
    }
    lastfm.user_mut("alice").now_playing = Some(Play::new(0, "Somebody", "On the turntable"));
    lastfm
}

/// Says who the users are, and what is difficult about their histories.
fn introduce(server: &Server) {
    say("     user      plays  in one second   no album   not ASCII");
    server.with(|lastfm| {
        for user in lastfm.users() {
            let plays: Vec<&Play> = user.history.plays().collect();
            let tied: usize = plays
                .chunk_by(|left, right| left.uts == right.uts)
                .map(<[_]>::len)
                .filter(|plays| *plays > 1)
                .sum();
            let no_album = plays.iter().filter(|play| play.album.is_empty()).count();
            let beyond_ascii = plays
                .iter()
                .filter(|play| !play.track.is_ascii() || !play.artist.is_ascii())
                .count();
            let note = match user.now_playing {
                Some(_) => "  and a track that is playing now: no play yet",
                None => "",
            };
            let count = |plays: usize| HumanCount(plays as u64).to_string();
            say(&format!(
                "     {:<6} {:>8} {:>14} {:>10} {:>11}{note}",
                user.name(),
                count(plays.len()),
                count(tied),
                count(no_album),
                count(beyond_ascii),
            ));
        }
    });
}

/// How many pages the histories fill.
fn pages(server: &Server) -> usize {
    server.with(|lastfm| {
        let pages = |plays: usize| plays.div_ceil(PLAYS_PER_PAGE);
        lastfm.users().map(|user| pages(user.history.len())).sum()
    })
}

/// Plays that came after the archive was up to date, and two that came late to its newest second. Says how many.
fn add_plays(server: &Server) -> usize {
    server.with(|lastfm| {
        let newest = |lastfm: &LastFm, name: &str| {
            let history = &lastfm.user(name).history;
            history.plays().next_back().map_or(0, |play| play.uts)
        };
        let (alice, bob) = (newest(lastfm, "alice"), newest(lastfm, "bob"));
        let new = [
            (
                "alice",
                Play::new(alice, "Ólafur Example", "Late to the second"),
            ),
            (
                "alice",
                Play::new(alice, "Ólafur Example", "Late to the second, too"),
            ),
            (
                "alice",
                Play::new(alice + 200, "Ólafur Example", "Afterwards"),
            ),
            ("bob", Play::new(bob + 1, "The Invented", "Once")),
            ("bob", Play::new(bob + 240, "The Invented", "Once")),
        ];
        let added = new.len();
        for (name, play) in new {
            lastfm.user_mut(name).history.add(play);
        }
        added
    })
}

/// Holds the files against the truth, and says what was found.
fn compare(server: &Server, directory: &Path) -> anyhow::Result<()> {
    let archive = check::read(directory)?;
    let mut problems = archive.problems.clone();
    for (name, ..) in USERS {
        let truth: Vec<Play> =
            server.with(|lastfm| lastfm.user(name).history.plays().cloned().collect());
        let Some(user) = archive.users.get(name) else {
            problems.push(format!("{name} is not in the archive"));
            continue;
        };
        let found = check::compare(name, user, &truth);
        if found.is_empty() {
            say(&format!(
                "     {name:<6} {:>7} of {:>6} plays are there exactly once, in order, in {:>3} months",
                HumanCount(user.lines.len() as u64).to_string(),
                HumanCount(truth.len() as u64).to_string(),
                user.months
            ));
        }
        problems.extend(found);
    }
    if problems.is_empty() {
        say(&format!(
            "     all correct: {} plays in {} files, {}",
            HumanCount(archive.plays() as u64),
            archive.files,
            HumanBytes(archive.bytes)
        ));
        return Ok(());
    }
    for problem in problems.iter().take(10) {
        say(&format!("     wrong: {problem}"));
    }
    bail!(
        "the archive in {} is not what was played: {} things are wrong",
        directory.display(),
        problems.len()
    )
}

/// Commands to try next.
fn suggest(archive: &Path) {
    let data = archive.display();
    let oldest = check::oldest_file(archive, "alice").map_or_else(
        || format!("{data}/*/*/*/part-0.ndjson"),
        |file| file.display().to_string(),
    );
    say(&format!("  head -1 {oldest}"));
    say(&format!("  cat {data}/user=*/*/*/part-*.ndjson | wc -l"));
    say(&format!(
        "  duckdb -c \"SELECT username, year, count(*) AS plays FROM read_ndjson('{data}/*/*/*/part-*.ndjson', \
         hive_partitioning=true) GROUP BY ALL ORDER BY ALL\""
    ));
    say("\nYour own history (a key is free: last.fm/api/account/create):\n");
    say("  LASTFM_API_KEY=<key> cargo run --release -- sync <your Last.fm name> --archive music");
}

/// One line on stdout. A reader that went away (`| head`) is no reason to stop in the middle.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
