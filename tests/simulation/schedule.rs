//! One schedule: a seed in, what is wrong out.

use crate::checker;
use crate::host::{Worker, deliver, tick};
use crate::truth::USER;
use crate::world::{Shared, World, lock};
use fake_lastfm::{Bound, EmptyShape, OneRowShape, PastTheEnd, Play};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Invocations that one process works on at the same time.
const BUSY_MAX: usize = 3;

/// Ticks after the faults until everything must be quiet.
const QUIET_TICKS_MAX: u32 = 40;

/// What came of a schedule.
pub(crate) struct Verdict {
    pub(crate) wrong: Vec<String>,
    pub(crate) fingerprint: u64,
    pub(crate) calls: u64,
    pub(crate) appends: usize,
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

fn prepare(world: &mut World) {
    let now = world.now_ms().div_euclid(1_000);
    let random = &mut world.random;
    let config = &mut world.lastfm.config;
    let bounds = [Bound::Inclusive, Bound::Exclusive];
    config.from_bound = *random.choice(&bounds).expect("some");
    config.to_bound = *random.choice(&bounds).expect("some");
    config.past_the_end = *random
        .choice(&[PastTheEnd::EmptyPage, PastTheEnd::NoSuchPage])
        .expect("some");
    config.one_row = *random
        .choice(&[OneRowShape::Array, OneRowShape::Object])
        .expect("some");
    config.no_rows = *random
        .choice(&[EmptyShape::Array, EmptyShape::FlatAttributes])
        .expect("some");
    config.limit_clamp = *random.choice(&[None, None, Some(200)]).expect("some");
    world.lastfm.add_user(USER, []);
    let strangers =
        (0..30).map(|n| Play::new(now - 1_000 + n, "Stranger", &format!("Strange {n}")));
    world.lastfm.add_user("mallory", strangers);
    if random.bool() {
        world.lastfm.user_mut(USER).now_playing = Some(Play::new(0, "Now", "Playing"));
    }
    world.truth.begin(&mut world.lastfm, random, now);
}

/// Whatever people put on the queue by hand.
fn message_by_hand(world: &mut World) -> Vec<u8> {
    let now = world.now_ms().div_euclid(1_000);
    let random = &mut world.random;
    let oldest = world
        .truth
        .entries
        .first()
        .map_or(now - 100, |entry| entry.play.uts);
    let mut json = serde_json::json!({ "user": "RJ" });
    let mut maybe = |name: &str, value: i64| {
        if random.u32(0..3) == 0 {
            json[name] = value.into();
        }
        random.u32(0..1_000)
    };
    let dice = maybe("pages", 1);
    let value = [
        now + 5_000,
        now,
        oldest + (now - oldest) / 2,
        0,
        now * 1_000,
    ][dice as usize % 5];
    let dice = maybe("to", value);
    let value = [0, oldest, now - 50, now + 50][dice as usize % 4];
    let dice = maybe("from", value);
    let dice = maybe("total", i64::from(dice) % 300);
    maybe("page_size", i64::from(dice) % 60 + 1);
    json.to_string().into_bytes()
}

async fn play(seed: u64, loud: bool) -> Verdict {
    let mut world = World::new(fastrand::Rng::with_seed(seed), loud);
    prepare(&mut world);
    let rate = *world.random.choice(&["0", "4", "20"]).expect("some");
    world.rate = rate.parse().expect("a number");
    let count = world.random.usize(2..=4);
    let fault_time_ms = world.random.i64(3..40) * 60_000;
    let tick_ms = world.random.i64(1..10) * 60_000;
    let changes = world.random.u32(0..3);
    let text = format!(
        "seed {seed}: {} plays, rate {rate}, faults {} %, crashes {} ‰, Last.fm's {} %, {:?} / {:?}, {} blocks a blob",
        world.truth.entries.len(),
        world.faults_percent,
        world.crashes_permille,
        world.lastfm_percent,
        world.lastfm.config.from_bound,
        world.lastfm.config.to_bound,
        world.blobs.blocks_max,
    );
    world.say("host", text);
    let start_ms = world.now_ms();
    let shared: Shared = Arc::new(Mutex::new(world));
    let mut workers: Vec<Worker> = (0..count)
        .map(|number| Worker::start(&shared, format!("w{number}.0"), rate))
        .collect();
    let mut born = 0;
    let mut next_tick_ms = start_ms;
    let (mut quiet_ticks, mut before) = (0, None);
    let mut last_second = 0;
    loop {
        let now_ms = lock(&shared).now_ms();
        let faulty = now_ms < start_ms + fault_time_ms;
        if !faulty {
            calm(&mut lock(&shared));
        }
        for worker in workers.iter_mut().filter(|worker| worker.is_dead()) {
            born += 1;
            let name = format!("{}.{born}", worker.name.split('.').next().expect("a name"));
            *worker = Worker::start(&shared, name, rate);
        }
        let pick = lock(&shared).random.usize(0..count);
        let idle = workers
            .iter()
            .all(|worker| worker.busy.load(Ordering::Relaxed) == 0);
        if now_ms >= next_tick_ms {
            next_tick_ms = now_ms + if faulty { tick_ms } else { 20 * 60_000 };
            if !faulty {
                let world = lock(&shared);
                let state = (world.blobs.appends, world.queue.messages.len());
                if idle && state.1 == 0 && before == Some(state) && quiet_ticks > 2 {
                    break;
                }
                before = Some(state);
                quiet_ticks += 1;
                if quiet_ticks > QUIET_TICKS_MAX {
                    break;
                }
                last_second = now_ms / 1_000 - 5;
            }
            tick(&shared, &workers[pick]);
        }
        if faulty {
            disturb(&shared, &workers, pick, changes);
        }
        take_messages(&shared, &workers, faulty, now_ms);
        let busy = !idle || !lock(&shared).queue.messages.is_empty();
        let pause_ms = if busy && faulty {
            lock(&shared).random.u64(50..2_000)
        } else if busy {
            1_000
        } else {
            10_000
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    let mut world = lock(&shared);
    let mut wrong = checker::check(&world, last_second);
    if quiet_ticks > QUIET_TICKS_MAX {
        let left = world.queue.messages.len();
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
    }
}

/// The faults stop.
fn calm(world: &mut World) {
    if world.faults_percent + world.lastfm_percent + world.crashes_permille == 0 {
        return;
    }
    world.faults_percent = 0;
    world.lastfm_percent = 0;
    world.crashes_permille = 0;
    world.latency_ms_max = world.latency_ms_max.min(200);
    world.say("host", "the faults stop");
}

/// What happens by itself between two looks at the queue.
fn disturb(shared: &Shared, workers: &[Worker], pick: usize, changes: u32) {
    let mut guard = lock(shared);
    let world = &mut *guard;
    if world.random.u32(0..10) < changes {
        let now_ms = world.now_ms();
        // `SIM_DELETE_ANYWHERE=1` shows what is known to be lost then.
        let careful = world.small_blocks && std::env::var_os("SIM_DELETE_ANYWHERE").is_none();
        let what = world
            .truth
            .change(&mut world.lastfm, &mut world.random, now_ms, careful);
        world.say("people", what);
    }
    if world.random.u32(0..60) == 0 {
        let text = message_by_hand(world);
        world.say("people", format!("put {}", String::from_utf8_lossy(&text)));
        let now_ms = world.now_ms();
        world.queue.put(text, now_ms);
    }
    if world.faults_percent > 0 && world.random.u32(0..200) == 0 {
        let worker = workers[pick].clone();
        world.say(&worker.name, "is told to stop");
        tokio::spawn(async move {
            worker.stop.request();
            tokio::time::sleep(Duration::from_secs(10)).await;
            worker.dead.send_replace(true);
        });
    }
}

fn take_messages(shared: &Shared, workers: &[Worker], faulty: bool, now_ms: i64) {
    loop {
        let mut world = lock(shared);
        let free: Vec<&Worker> = workers
            .iter()
            .filter(|worker| worker.busy.load(Ordering::Relaxed) < BUSY_MAX)
            .collect();
        // Deliveries start only when this task sleeps, so at most one for each worker and look.
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
        let Some(message) = world.queue.take(now_ms, lease_ms) else {
            return;
        };
        drop(world);
        deliver(shared, worker, message);
    }
}
