//! Seeded schedules of faults over the real program, with simulated storage, Last.fm, host and time.
//!
//! Each run starts from a fresh seed and prints it. `SIM_SEED=n` repeats one schedule with its trace (`SIM_LOG=1` adds
//! the program's log), `SIM_SCHEDULES=n` sets how many are run, `SIM_BASE=n` from which seed on, `SIM_STOP=1` stops
//! at the first finding. Ctrl-C stops a long run, and it sums up what it has done.
#![allow(missing_docs, reason = "a test")]
#![allow(
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    clippy::panic,
    clippy::print_stderr,
    clippy::semicolon_if_nothing_returned,
    reason = "a test may stop at the first surprise"
)]

mod blobs;
mod checker;
mod contract;
mod epilogue;
mod host;
mod looks;
mod parts;
mod people;
mod port;
mod queue;
mod reading;
mod runtime;
mod schedule;
mod sixty_days;
mod support;
mod truth;
mod view;
mod witness;
mod world;

use schedule::Verdict;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

/// Schedules of a run that is not told how many.
const SCHEDULES: u64 = 2_000;

/// How often a long run says how far it is.
const PROGRESS_S: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Says it to whoever watches, also while the test harness holds back what tests print.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "simulation: {text}");
}

/// For the whole process, once.
fn prepare() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(runtime::install);
}

#[test]
fn whatever_goes_wrong_the_archive_is_right() {
    prepare();
    if let Some(seed) = number("SIM_SEED") {
        let _log = (number("SIM_LOG").is_some()).then(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::INFO)
                .without_time()
                .with_writer(std::io::stderr)
                .finish();
            tracing::subscriber::set_default(subscriber)
        });
        let verdict = schedule::run(seed, true);
        let wrong = &verdict.wrong;
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        return;
    }
    let run = Run {
        base: number("SIM_BASE").unwrap_or_else(|| fastrand::u64(..1 << 48)),
        schedules: number("SIM_SCHEDULES").unwrap_or(SCHEDULES),
        stop_at_first: number("SIM_STOP").is_some(),
        ..Run::default()
    };
    run.all();
    if let Some((seed, _)) = run.findings().first() {
        schedule::run(*seed, true);
        panic!("repeat it with SIM_SEED={seed}");
    }
}

#[test]
fn a_seed_repeats_its_schedule() {
    prepare();
    let base = fastrand::u64(..1 << 48);
    for seed in base..base + 12 {
        let one = schedule::run(seed, false).fingerprint;
        let two = schedule::run(seed, false).fingerprint;
        assert_eq!(one, two, "SIM_SEED={seed}");
    }
}

/// Many schedules, on every core.
#[derive(Default)]
struct Run {
    base: u64,
    schedules: u64,
    stop_at_first: bool,
    stopped: AtomicBool,
    next: AtomicU64,
    done: AtomicU64,
    calls: AtomicU64,
    appends: AtomicU64,
    /// Plays taken late; plays removed; plays returned.
    looks: [AtomicU64; 3],
    findings: Mutex<Vec<(u64, String)>>,
}

impl Run {
    fn all(&self) {
        say(&format!(
            "{} schedules from SIM_BASE={} on",
            self.schedules, self.base
        ));
        let started = Instant::now();
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            let working: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.some())).collect();
            scope.spawn(|| self.watch(started));
            for work in working {
                // A panic inside a schedule is a finding of its own, with its seed.
                work.join().expect("schedules catch what panics");
            }
            self.stopped.store(true, Ordering::Relaxed);
        });
        say(&format!(
            "{} schedules from seed {} on, {} outside calls, {} appends, {} late, {} removed, {} returned, {:.0} s, {} findings",
            self.done.load(Ordering::Relaxed),
            self.base,
            self.calls.load(Ordering::Relaxed),
            self.appends.load(Ordering::Relaxed),
            self.looks[0].load(Ordering::Relaxed),
            self.looks[1].load(Ordering::Relaxed),
            self.looks[2].load(Ordering::Relaxed),
            started.elapsed().as_secs_f64(),
            self.findings().len()
        ));
    }

    fn findings(&self) -> Vec<(u64, String)> {
        self.findings.lock().expect("no panic").clone()
    }

    /// Works off schedules until there are none.
    fn some(&self) {
        while !self.stopped.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.schedules {
                return;
            }
            let seed = self.base + number;
            let verdict = std::panic::catch_unwind(|| schedule::run(seed, false));
            let verdict = verdict.unwrap_or_else(|_| Verdict::panicked());
            self.calls.fetch_add(verdict.calls, Ordering::Relaxed);
            self.appends
                .fetch_add(verdict.appends as u64, Ordering::Relaxed);
            for (sum, number) in self.looks.iter().zip(verdict.looks) {
                sum.fetch_add(number as u64, Ordering::Relaxed);
            }
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(first) = verdict.wrong.first() {
                let more = verdict.wrong.len() - 1;
                say(&format!(
                    "finding after {done}: SIM_SEED={seed}: {first} (and {more} more)"
                ));
                self.findings
                    .lock()
                    .expect("no panic")
                    .push((seed, first.clone()));
                self.stopped.fetch_or(self.stop_at_first, Ordering::Relaxed);
            }
        }
    }

    /// Tells how far it is, and listens to Ctrl-C.
    fn watch(&self, started: Instant) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            let mut said_s = 0;
            while !self.stopped.load(Ordering::Relaxed) {
                let tick = std::time::Duration::from_millis(200);
                if let Ok(Ok(())) = tokio::time::timeout(tick, tokio::signal::ctrl_c()).await {
                    say("interrupted");
                    self.stopped.store(true, Ordering::Relaxed);
                }
                let seconds = started.elapsed().as_secs();
                if seconds >= said_s + PROGRESS_S {
                    said_s = seconds;
                    let done = self.done.load(Ordering::Relaxed);
                    say(&format!("{done} of {} after {seconds} s", self.schedules));
                }
            }
        });
    }
}
