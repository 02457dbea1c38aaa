//! Seeded schedules of faults over the real program, with simulated storage, Last.fm, host and time.
//!
//! `SIM_SEED=n` repeats one schedule with its trace (`SIM_LOG=1` adds the program's log), `SIM_SCHEDULES=n` sets how
//! many are run, `SIM_BASE=n` from which seed on.
//!
//! A first version: it starts from the same seed each time.
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
mod host;
mod port;
mod queue;
mod runtime;
mod schedule;
mod support;
mod truth;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_goes_wrong_the_archive_is_right() {
    runtime::install();
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
        eprintln!("fingerprint {:016x}", verdict.fingerprint);
        assert!(
            verdict.wrong.is_empty(),
            "seed {seed}: {:#?}",
            verdict.wrong
        );
        return;
    }
    let schedules = number("SIM_SCHEDULES").unwrap_or(200);
    let base = number("SIM_BASE").unwrap_or(1);
    eprintln!("{schedules} schedules from seed {base} on");
    let next = AtomicU64::new(0);
    let (calls, appends) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= schedules {
                        return;
                    }
                    let seed = base + number;
                    let verdict = schedule::run(seed, false);
                    calls.fetch_add(verdict.calls, Ordering::Relaxed);
                    appends.fetch_add(verdict.appends as u64, Ordering::Relaxed);
                    if !verdict.wrong.is_empty() {
                        eprintln!(
                            "SIM_SEED={seed}: {:?}",
                            &verdict.wrong[..verdict.wrong.len().min(3)]
                        );
                        failed.lock().expect("no panic").push(seed);
                    }
                }
            });
        }
    });
    eprintln!("{schedules} schedules, {calls:?} outside calls, {appends:?} appends");
    let failed = failed.into_inner().expect("no panic");
    if let Some(seed) = failed.first() {
        schedule::run(*seed, true);
    }
    assert!(
        failed.is_empty(),
        "{} of {schedules} schedules failed; repeat one with SIM_SEED={}",
        failed.len(),
        failed[0]
    );
}
