//! Sixty days of ordinary life: plays keep arriving late, some are deleted, corrected, or come back, while everything is
//! synced every hour and reconciled every day. No faults.
//!
//! `SIXTY_DAYS_SEED=n` repeats a run.

use crate::epilogue::until_quiet;
use crate::host::{Process, Worker, tick};
use crate::reading::{Archive, archives};
use crate::truth::{Truth, USERS};
use crate::view::Differences;
use crate::world::{Shared, World, lock};
use crate::{checker, number, prepare, say};
use fake_lastfm::{Bound, Config};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DAYS: u32 = 60;
/// One finds what was late at the very end and looks for what was removed, one looks for that again.
const FURTHER_DAYS: u32 = 2;
/// Up to this day, plays of any age are deleted: what is older than fifteen days is missed when its month is counted, and
/// again the day after.
const OLD_DAYS: u32 = DAYS - 31;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
const PAGE_SIZE: u32 = 200;

/// What one user's reconciles cost, by day.
#[derive(Default)]
struct Cost {
    quiet: Vec<usize>,
    eventful: Vec<usize>,
}

#[test]
fn sixty_days_of_late_removed_and_edited_plays_end_as_last_fm_shows_them() {
    prepare();
    let seed = number("SIXTY_DAYS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    say(&format!("sixty days: SIXTY_DAYS_SEED={seed}"));
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let wrong = runtime.block_on(play(seed));
    assert!(wrong.is_empty(), "SIXTY_DAYS_SEED={seed}: {wrong:#?}");
}

async fn play(seed: u64) -> Vec<String> {
    let shared = begin(seed);
    let process = Process {
        page_size: PAGE_SIZE,
        pages: 40,
        skew_ms: 0,
        block_bytes: 4 << 20,
        rate: "4",
    };
    let workers = [0, 1].map(|number| Worker::with(&shared, format!("w{number}.0"), &process));
    let mut costs: BTreeMap<&str, Cost> = BTreeMap::new();
    let mut wrong = Vec::new();
    for day in 0..DAYS + FURTHER_DAYS {
        let eventful: Vec<bool> = {
            let mut world = lock(&shared);
            let users = world.truths.len();
            (0..users).map(|_| world.random.u32(0..10) < 3).collect()
        };
        for hour in 0..24 {
            tokio::time::sleep(Duration::from_mins(20)).await;
            if day < DAYS {
                live(&mut lock(&shared), day, &eventful);
            }
            tokio::time::sleep(Duration::from_mins(5)).await;
            tick(&shared, &workers[hour % 2], "enqueue_users");
            if !until_quiet(&shared, &workers).await {
                return vec![format!("day {day}, hour {hour}: the syncs do not end")];
            }
            let now_ms = lock(&shared).now_ms();
            let rest_ms = u64::try_from(3_600_000 - now_ms.rem_euclid(3_600_000)).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(rest_ms)).await;
        }
        let before = {
            let world = lock(&shared);
            let archives = archives(&world, &mut Vec::new());
            let before = world.truths.iter().map(|truth| {
                let differences = differences(truth, &archives);
                let is_quiet = differences.lacking.is_empty() && differences.gone.is_empty();
                let since = world.now_ms().div_euclid(1_000) - 15 * DAY_S;
                let recent = truth.counts.keys().filter(|key| key.0 >= since);
                let plays: usize = recent.map(|key| truth.count(key)).sum();
                (truth.user, is_quiet, plays, requests(&world, truth))
            });
            before.collect::<Vec<_>>()
        };
        tick(&shared, &workers[0], "reconcile_users");
        if !until_quiet(&shared, &workers).await {
            return vec![format!("day {day}: the reconciles do not end")];
        }
        let world = lock(&shared);
        for (truth, (user, is_quiet, plays, asked)) in world.truths.iter().zip(before) {
            let requests = requests(&world, truth) - asked;
            let cost = costs.entry(user).or_default();
            if is_quiet {
                let most = 3 + plays.div_ceil(PAGE_SIZE as usize);
                if requests > most {
                    wrong.push(format!(
                        "day {day}: nothing of {user} was late or removed, and {requests} requests instead of {most}"
                    ));
                }
                cost.quiet.push(requests);
            } else {
                cost.eventful.push(requests);
            }
        }
    }
    tell(&shared, &costs);
    let mut world = lock(&shared);
    let last_second = world.now_ms().div_euclid(1_000) - DAY_S / 2;
    wrong.extend(checker::check(&world, last_second));
    let archives = archives(&world, &mut Vec::new());
    for truth in &world.truths {
        let differences = differences(truth, &archives);
        if !differences.lacking.is_empty() || !differences.gone.is_empty() {
            wrong.push(format!("{}: {differences:?}", truth.user));
        }
    }
    // Else the bound on their cost says nothing. How many days are quiet for whom is chance.
    let days = |of: fn(&Cost) -> usize| costs.values().map(of).sum::<usize>();
    if days(|cost| cost.quiet.len()) < 5 || days(|cost| cost.eventful.len()) < 5 {
        wrong.push("hardly any day was quiet, or eventful".to_owned());
    }
    if world.looks.written.contains(&0) {
        wrong.push(format!("nothing happened: {:?}", world.looks.written));
    }
    wrong.append(&mut world.witness.wrong);
    wrong.append(&mut world.looks.wrong);
    wrong
}

/// A world without faults, and a hundred days of plays.
fn begin(seed: u64) -> Shared {
    let mut world = World::new(Rng::with_seed(seed), false);
    world.faults_percent = 0;
    world.crashes_permille = 0;
    world.lastfm_percent = 0;
    world.latency_ms_max = 80;
    world.clocks_off_ms = 0;
    world.blobs.blocks_max = 50_000;
    world.blobs.names_max = 5_000;
    world.rate = 4;
    let bounds = [Bound::Inclusive, Bound::Exclusive];
    world.lastfm.config = Config {
        from_bound: *world.random.choice(&bounds).expect("some"),
        to_bound: *world.random.choice(&bounds).expect("some"),
        ..Config::default()
    };
    let now_ms = world.now_ms();
    let now = now_ms.div_euclid(1_000);
    for user in &USERS[..2] {
        let mut truth = Truth::new(user, &mut world.lastfm);
        let mut uts = now - 100 * DAY_S;
        while uts < now - HOUR_S {
            truth.add(&mut world.lastfm, uts, false, now_ms);
            // Twenty a day, now and then several at once.
            uts += world.random.i64(0..DAY_S / 10);
        }
        world.truths.push(truth);
    }
    Arc::new(Mutex::new(world))
}

/// An hour: everybody listens now and then; on an eventful day one or the other thing happens to what was played before.
fn live(world: &mut World, day: u32, eventful: &[bool]) {
    let now_ms = world.now_ms();
    let now = now_ms.div_euclid(1_000);
    let (lastfm, random) = (&mut world.lastfm, &mut world.random);
    for (truth, is_eventful) in world.truths.iter_mut().zip(eventful) {
        for _ in 0..random.u32(0..3) {
            let uts = now - random.i64(0..2) * random.i64(0..200);
            truth.add(lastfm, uts, false, now_ms);
        }
        if !is_eventful || random.u32(0..3) > 0 {
            continue;
        }
        // So that the next run still has it within fifteen days; a removal needs the run after that, too.
        let within = |days: i64| now - days * DAY_S + HOUR_S;
        match random.u32(0..6) {
            0..=1 => {
                let uts = random.i64(within(14)..now - 4 * HOUR_S);
                truth.add(lastfm, uts, true, now_ms);
            }
            2..=3 => {
                let is_early = day < OLD_DAYS && random.u32(0..5) == 0;
                let since = if is_early { 0 } else { within(13) };
                if let Some(index) = pick(truth, lastfm, random, since, now) {
                    truth.remove(lastfm, index, now_ms);
                }
            }
            4 => {
                if let Some(index) = pick(truth, lastfm, random, within(13), now) {
                    truth.rename(lastfm, random, index, now_ms);
                }
            }
            _ => {
                truth.bring_back(lastfm, random, within(12), now_ms);
            }
        }
    }
}

/// One of the plays since then that are archived.
fn pick(
    truth: &Truth,
    lastfm: &fake_lastfm::LastFm,
    random: &mut Rng,
    since: i64,
    now: i64,
) -> Option<usize> {
    let history = &lastfm.user(truth.user).history;
    let first = history.plays().position(|play| play.uts >= since)?;
    let count = history.between(since, now - 3 * HOUR_S).len();
    (count > 0).then(|| first + random.usize(0..count))
}

fn differences(truth: &Truth, archives: &BTreeMap<String, Archive>) -> Differences {
    let archive = archives.get(&truth.user.to_lowercase());
    archive.map_or_else(Differences::default, |archive| {
        Differences::between(truth, archive)
    })
}

/// What reconciles of a user have asked Last.fm so far.
fn requests(world: &World, truth: &Truth) -> usize {
    let requests = &world.witness.reconcile_requests;
    let user = truth.user.to_lowercase();
    requests.get(&user).copied().unwrap_or(0)
}

fn tell(shared: &Shared, costs: &BTreeMap<&str, Cost>) {
    let world = lock(shared);
    let [late, removed, returned] = world.looks.written;
    let plays = world.truths.iter().map(|truth| truth.entries.len());
    say(&format!(
        "sixty days: {} plays of {} users; {late} taken late, {removed} removed, {returned} returned",
        plays.sum::<usize>(),
        world.truths.len()
    ));
    for (user, cost) in costs {
        let words = |requests: &[usize]| {
            let sum: usize = requests.iter().sum();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let mean = sum as f64 / requests.len().max(1) as f64;
            let most = requests.iter().max().unwrap_or(&0);
            format!(
                "{} days, {mean:.1} requests each, {most} at most",
                requests.len()
            )
        };
        say(&format!(
            "sixty days: extra requests of {user}: nothing late or removed: {}; else: {}",
            words(&cost.quiet),
            words(&cost.eventful)
        ));
    }
}
