//! One schedule: a seed in, what is wrong out.

use crate::checker;
use crate::epilogue;
use crate::host::{Worker, deliver, tick};
use crate::people;
use crate::queue::{RECONCILES, WORK};
use crate::truth::Truth;
use crate::world::{Shared, World, lock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Invocations that one process works on at the same time.
const BUSY_MAX: usize = 3;

/// Ticks after the faults until everything must be quiet.
const QUIET_TICKS_MAX: u32 = 40;

/// Every so many schedules have an epilogue.
const EPILOGUES: u64 = 8;

/// What came of a schedule.
pub(crate) struct Verdict {
    pub(crate) wrong: Vec<String>,
    pub(crate) fingerprint: u64,
    pub(crate) calls: u64,
    pub(crate) appends: usize,
    /// Plays taken late; plays removed; plays returned.
    pub(crate) looks: [usize; 3],
}

impl Verdict {
    /// Something panicked, which is wrong by itself.
    pub(crate) fn panicked() -> Self {
        Self {
            wrong: vec!["a panic".to_owned()],
            fingerprint: 0,
            calls: 0,
            appends: 0,
            looks: [0; 3],
        }
    }
}

/// Runs the schedule of `seed`.
pub(crate) fn run(seed: u64, loud: bool) -> Verdict {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(play(seed, loud))
}

/// How a schedule goes.
struct Plan {
    rate: &'static str,
    workers: usize,
    start_ms: i64,
    /// Until then things go wrong.
    faulty_until_ms: i64,
    tick_ms: i64,
    changes: u32,
    /// How often everybody is reconciled, if at all.
    reconcile_ms: Option<i64>,
    /// From then on nobody listens and nothing is synced until the faults stop, so that reconciles get to write.
    small_hours_ms: i64,
}

impl Plan {
    fn make(world: &mut World) -> Self {
        let rate = *world.random.choice(&["0", "4", "20"]).expect("some");
        world.rate = rate.parse().expect("a number");
        let start_ms = world.now_ms();
        let workers = world.random.usize(2..=4);
        let fault_time_ms = world.random.i64(3..40) * 60_000;
        let tick_ms = world.random.i64(1..10) * 60_000;
        let changes = world.random.u32(0..3);
        let reconciles = world.random.u32(0..5) < 2;
        let reconcile_ms = world.random.i64(8..24) * 60_000;
        let sixths = if reconciles {
            world.random.i64(1..7)
        } else {
            6
        };
        Self {
            rate,
            workers,
            start_ms,
            faulty_until_ms: start_ms + fault_time_ms,
            tick_ms,
            changes,
            reconcile_ms: Some(reconcile_ms).filter(|_| reconciles),
            small_hours_ms: start_ms + fault_time_ms * sixths / 6,
        }
    }
}

fn in_words(world: &World, seed: u64, rate: &str) -> String {
    format!(
        "seed {seed}: {:?} plays, rate {rate}, faults {} %, crashes {} ‰, Last.fm's {} %, {:?} / {:?}, {} blocks a blob, {} rows at most, cursed {:?}",
        world
            .truths
            .iter()
            .map(|truth| truth.entries.len())
            .collect::<Vec<_>>(),
        world.faults_percent,
        world.crashes_permille,
        world.lastfm_percent,
        world.lastfm.config.from_bound,
        world.lastfm.config.to_bound,
        world.blobs.blocks_max,
        world.rows_max,
        world
            .truths
            .iter()
            .filter_map(Truth::curse)
            .collect::<Vec<_>>(),
    )
}

async fn play(seed: u64, loud: bool) -> Verdict {
    let mut world = World::new(fastrand::Rng::with_seed(seed), loud);
    world.prepare();
    let plan = Plan::make(&mut world);
    let rate = plan.rate;
    let text = in_words(&world, seed, rate);
    world.say("host", text);
    let shared: Shared = Arc::new(Mutex::new(world));
    let mut workers: Vec<Worker> = (0..plan.workers)
        .map(|number| Worker::start(&shared, format!("w{number}.0"), rate))
        .collect();
    let mut born = 0;
    let mut next_tick_ms = plan.start_ms;
    let first = plan
        .reconcile_ms
        .map(|every_ms| plan.start_ms + every_ms / 3);
    let mut next_reconcile_ms = first.unwrap_or(i64::MAX);
    let (mut quiet_ticks, mut before) = (0, None);
    let mut last_second = 0;
    loop {
        let now_ms = lock(&shared).now_ms();
        let faulty = now_ms < plan.faulty_until_ms;
        let small_hours = faulty && now_ms >= plan.small_hours_ms;
        if !faulty {
            calm(&mut lock(&shared));
        }
        for worker in workers.iter_mut().filter(|worker| worker.is_dead()) {
            born += 1;
            let name = format!("{}.{born}", worker.name.split('.').next().expect("a name"));
            *worker = Worker::start(&shared, name, rate);
        }
        let pick = lock(&shared).random.usize(0..plan.workers);
        let idle = workers
            .iter()
            .all(|worker| worker.busy.load(Ordering::Relaxed) == 0);
        if now_ms >= next_tick_ms && !small_hours {
            next_tick_ms = now_ms
                + if faulty {
                    plan.tick_ms
                } else {
                    QUIET_TICK_MINUTES * 60_000
                };
            if !faulty {
                let world = lock(&shared);
                let state = (world.blobs.appends, world.queues.messages.len());
                if idle && state.1 == 0 && before == Some(state) && quiet_ticks > 1 {
                    break;
                }
                before = Some(state);
                quiet_ticks += 1;
                if quiet_ticks > QUIET_TICKS_MAX {
                    break;
                }
                last_second = now_ms / 1_000 - 5;
            }
            tick(&shared, &workers[pick], "enqueue_users");
        }
        if faulty && now_ms >= next_reconcile_ms {
            next_reconcile_ms = now_ms + plan.reconcile_ms.unwrap_or_default();
            tick(&shared, &workers[pick], "reconcile_users");
        }
        if faulty {
            disturb(&shared, &workers, pick, plan.changes, small_hours);
            if plan.reconcile_ms.is_some() {
                compare_by_hand(&mut lock(&shared));
            }
        }
        take_messages(&shared, &workers, faulty, now_ms);
        let busy = !idle || !lock(&shared).queues.messages.is_empty();
        let pause_ms = if busy && faulty {
            lock(&shared).random.u64(50..2_000)
        } else if busy {
            1_000
        } else {
            10_000
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    {
        let mut world = lock(&shared);
        let (rate, clocks_off_ms) = (world.rate, world.clocks_off_ms);
        world.witness.look_back(rate, clocks_off_ms);
    }
    let wrong = if seed.is_multiple_of(EPILOGUES) && quiet_ticks <= QUIET_TICKS_MAX {
        epilogue::play(&shared).await
    } else {
        Vec::new()
    };
    judge(&shared, wrong, quiet_ticks, last_second)
}

/// What is wrong at the end.
fn judge(shared: &Shared, mut wrong: Vec<String>, quiet_ticks: u32, last_second: i64) -> Verdict {
    let mut world = lock(shared);
    wrong.append(&mut checker::check(&world, last_second));
    wrong.append(&mut world.witness.wrong);
    wrong.append(&mut world.looks.wrong);
    if quiet_ticks > QUIET_TICKS_MAX {
        let left = world.queues.messages.len();
        wrong.push(format!(
            "not quiet after {QUIET_TICKS_MAX} ticks: {left} messages"
        ));
    }
    for text in &wrong {
        world.say("check", text);
    }
    Verdict {
        wrong,
        fingerprint: world.fingerprint,
        calls: world.calls,
        appends: world.blobs.appends,
        looks: world.looks.written,
    }
}

/// The faults stop.
fn calm(world: &mut World) {
    if world.is_calm {
        return;
    }
    world.is_calm = true;
    world.faults_percent = 0;
    world.lastfm_percent = 0;
    world.crashes_permille = 0;
    world.latency_ms_max = world.latency_ms_max.min(200);
    // No second has more plays than fifty, so pages of that many are enough for good.
    if world.rows_max < 50 {
        world.rows_max = usize::MAX;
    }
    for truth in &mut world.truths {
        if world.random.bool() {
            truth.cursed = None;
        }
    }
    let cursed: Vec<_> = world.truths.iter().filter_map(Truth::curse).collect();
    let text = format!("the faults stop, but for {cursed:?}");
    world.say("host", text);
}

/// Minutes between two ticks when nothing else happens any more: longer than an item is put back in all.
const QUIET_TICK_MINUTES: i64 = 25;

/// What happens by itself between two looks at the queue.
fn disturb(shared: &Shared, workers: &[Worker], pick: usize, changes: u32, small_hours: bool) {
    let mut guard = lock(shared);
    let world = &mut *guard;
    if world.random.u32(0..10) < changes {
        let what = people::change_history(world, small_hours);
        world.say("people", what);
    }
    if world.random.u32(0..60) == 0 && !small_hours {
        people::send_message(world, WORK);
    }
    if world.random.u32(0..40) == 0 {
        people::touch_a_file(world);
    }
    if world.faults_percent > 0 && world.random.u32(0..200) == 0 {
        let worker = workers[pick].clone();
        world.say(&worker.name, "is told to stop");
        tokio::spawn(async move {
            worker.stop.request();
            tokio::time::sleep(Duration::from_secs(10)).await;
            let _ = worker.dead.set(());
        });
    }
}

/// Somebody asks for a reconcile, or clears some away.
fn compare_by_hand(world: &mut World) {
    if world.random.u32(0..300) == 0 {
        people::send_message(world, RECONCILES);
    }
    people::clear_reconciles(world);
}

/// Gives each process one message at most: it makes its first call before it is given another one.
pub(crate) fn take_messages(shared: &Shared, workers: &[Worker], faulty: bool, now_ms: i64) {
    let mut given: Vec<&str> = Vec::new();
    loop {
        let mut world = lock(shared);
        let free: Vec<&Worker> = workers
            .iter()
            .filter(|worker| worker.busy.load(Ordering::Relaxed) < BUSY_MAX)
            .filter(|worker| !given.contains(&worker.name.as_str()))
            .collect();
        let Some(worker) = world.random.choice(free) else {
            return;
        };
        // Now and then the host loses its lease and the message is delivered a second time meanwhile.
        let lost = faulty && world.random.u32(0..12) == 0;
        let lease_ms = if lost {
            world.random.i64(1_000..60_000)
        } else {
            600_000
        };
        let Some(message) = world.queues.take(now_ms, lease_ms) else {
            return;
        };
        drop(world);
        given.push(&worker.name);
        deliver(shared, worker, message);
    }
}
