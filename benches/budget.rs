//! How well the app keeps to its request budget, and how much of it it uses: `cargo bench --bench budget`. One short round:
//! `cargo bench --bench budget -- --quick`.
//!
//! The packaged app runs under the tests' double of the Functions host with Azurite, up to three processes at once. The
//! fake Last.fm enforces 4 requests a second, answers after 200 ms, and is where everything is measured. All rounds run at the
//! same time, each in a world of its own, for about a minute: they mostly wait. Figures are printed beside their goals and
//! never asserted; that all plays arrive stops the benchmark.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "it stands on the tests' tools, which stop at the first surprise"
)]

#[path = "../tests/it/support/mod.rs"]
mod support;
#[path = "shared/table.rs"]
mod table;

use fake_lastfm::{Fault, Play};
use std::time::Duration;
use support::functions_host::FunctionsHost;
use support::proxy::Proxy;
use support::world::{
    World, are_up_to_date, history, lastfm_with, milestones, now_ms, plays_from, work_until,
};
use table::{Goal, row, say};

/// Requests a second, and what one request in each interval needs.
const RATE: u32 = 4;
const BURST: usize = 2;
const ANSWER_TIME: Duration = Duration::from_millis(200);
const PAGE: usize = 200;

/// A host that looks at its queue again at once, or nearly.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How much is done.
struct Size {
    /// Of each of six users.
    pages: usize,
    /// Of one user alone.
    backfill_pages: usize,
    /// Users with one new play each, beside a backfill.
    small_users: usize,
    /// Goals are for the full size only.
    judged: bool,
}

const FULL: Size = Size {
    pages: 40,
    backfill_pages: 240,
    small_users: 40,
    judged: true,
};
const QUICK: Size = Size {
    pages: 2,
    backfill_pages: 8,
    small_users: 5,
    judged: false,
};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // `cargo bench` says `--bench`; `cargo test --benches` does not.
    let wants = |flag: &str| std::env::args().any(|argument| argument == flag);
    let is_full = wants("--bench") && !wants("--quick") && !wants("--test");
    let size = if is_full { &FULL } else { &QUICK };
    let (same, apart, at_once, by_host_json, one, three) = tokio::join!(
        six_users(size, [0, 0, 0], BURST),
        // At first each clock is known to half a second only.
        six_users(size, [0, 30, -30], BURST + 4),
        one_backfill(size, Some(AT_ONCE)),
        one_backfill(size, None),
        beside_a_backfill(size, 1),
        beside_a_backfill(size, 3),
    );
    let goal = |most| Goal::AtMost(most).if_judged(size.judged);
    let share = Goal::AtLeast(0.95).if_judged(size.judged);

    say("\nthree processes, six users");
    same.print(true, share);
    say("\nthe same with clocks half a minute apart");
    apart.print(false, share);
    say("\none backfill");
    let shares = [
        ("share of the budget", at_once, share),
        // The host looks ever more seldom while an item is at work, and finds the next one late.
        (
            "the same, polled as host.json says",
            by_host_json,
            Goal::None,
        ),
    ];
    for (what, rate, goal) in shares {
        row(what, "", vec![rate.share], goal);
    }
    say(&format!(
        "\n{} users with one new play each, beside a backfill",
        size.small_users
    ));
    for (what, fairness) in [("one process", one), ("three processes", three)] {
        row(
            &format!("slowest, {what}"),
            "s",
            vec![fairness.slowest_s],
            goal(30.0),
        );
        row(
            "the backfill's requests meanwhile",
            "",
            vec![fairness.backfill],
            Goal::None,
        );
    }
}

/// What Last.fm has seen.
struct Rate {
    refused: f64,
    in_one_second: f64,
    in_ten_seconds: f64,
    /// Requests, of as many as the rate allows from the first to the last of them.
    share: f64,
}

impl Rate {
    fn of(world: &World) -> Self {
        let refused = float(world.refused());
        world.lastfm.with(|lastfm| {
            let requests: Vec<i64> = lastfm
                .log
                .entries()
                .iter()
                .map(|entry| entry.request.at_ms)
                .collect();
            let time_ms = requests.last().unwrap() - requests[0];
            let allowed = float(usize::try_from(time_ms).unwrap()) / 1_000.0 * f64::from(RATE);
            Self {
                refused,
                in_one_second: float(lastfm.log.busiest(1_000)),
                in_ten_seconds: float(lastfm.log.busiest(10_000)),
                share: float(requests.len() - 1) / allowed,
            }
        })
    }

    fn print(self, is_strict: bool, share: Goal) {
        let rate = f64::from(RATE);
        let window = |seconds: f64| Goal::AtMost(seconds * rate + 1.0).if_judged(is_strict);
        for (what, figure, goal) in [
            (
                "requests refused for their rate",
                self.refused,
                Goal::AtMost(0.0),
            ),
            (
                "most requests in one second",
                self.in_one_second,
                window(1.0),
            ),
            (
                "most requests in ten seconds",
                self.in_ten_seconds,
                window(10.0),
            ),
            ("share of the budget", self.share, share),
        ] {
            row(what, "", vec![figure], goal);
        }
    }
}

/// A world whose Last.fm is slow and strict.
async fn world(users: &[(&str, Vec<Play>)]) -> World {
    let world = World::of(lastfm_with(users)).set("LASTFM_REQUESTS_PER_SECOND", RATE.to_string());
    let world = world.start().await;
    world.enforce(RATE as usize, BURST);
    let slow = Fault::Delay(ANSWER_TIME);
    world
        .lastfm
        .with(|lastfm| lastfm.faults.push_when(usize::MAX, |_| true, slow));
    world
}

/// Three processes with clocks that are so many seconds off, two users each at a time.
async fn six_users(size: &Size, clocks: [i64; 3], burst: usize) -> Rate {
    let names: Vec<String> = (1..=6).map(|number| format!("user-{number}")).collect();
    let users: Vec<(&str, Vec<Play>)> = names
        .iter()
        .zip(1..)
        .map(|(name, seed)| (name.as_str(), history(seed, size.pages * PAGE)))
        .collect();
    let world = world(&users).await;
    world.enforce(RATE as usize, burst);
    let mut hosts = Vec::new();
    for seconds in clocks {
        let (blobs, queues) = (Proxy::of_blobs().await, Proxy::of_queues().await);
        blobs.time_runs_ahead(-seconds);
        queues.time_runs_ahead(-seconds);
        let storage = Proxy::connection_string(Some(&blobs), Some(&queues));
        let mut host = world
            .another_host(&[("AzureWebJobsStorage", &storage)])
            .await;
        host.app.queues.batch_size = 1;
        host.app.queues.new_batch_threshold = 1;
        hosts.push(host);
    }
    for name in &names {
        world.put(&format!(r#"{{"user":"{name}"}}"#)).await;
    }
    let hosts: Vec<&FunctionsHost> = hosts.iter().collect();
    work_until(&hosts, AT_ONCE, || are_up_to_date(&hosts, &names)).await;
    for name in &names {
        world.expect_archived(name).await;
    }
    Rate::of(&world)
}

/// One user, whose host looks at its queue at least this often.
async fn one_backfill(size: &Size, pause_max: Option<Duration>) -> Rate {
    let world = world(&[("rj", history(1, size.backfill_pages * PAGE))]).await;
    world.put(r#"{"user":"rj"}"#).await;
    let pause_max = pause_max.unwrap_or(world.host.app.queues.max_polling_interval);
    let users = ["rj".to_owned()];
    let hosts = [&world.host];
    work_until(&hosts, pause_max, || are_up_to_date(&hosts, &users)).await;
    world.expect_archived("rj").await;
    Rate::of(&world)
}

/// How users with little to do fare beside one with much.
struct Fairness {
    slowest_s: f64,
    backfill: f64,
}

/// The hosts look at the queue as host.json says. The users come when the backfill's item has been at work for a while, so that the
/// next look is some seconds away.
async fn beside_a_backfill(size: &Size, processes: usize) -> Fairness {
    let names: Vec<String> = (1..=size.small_users)
        .map(|number| format!("user-{number}"))
        .collect();
    let mut users: Vec<(&str, Vec<Play>)> = names
        .iter()
        .map(|name| (name.as_str(), plays_from(1_710_000_000, 1)))
        .collect();
    users.push(("long", history(1, size.backfill_pages * PAGE)));
    let world = world(&users).await;
    let mut others = Vec::new();
    for _ in 1..processes {
        others.push(world.another_host(&[]).await);
    }
    let hosts: Vec<&FunctionsHost> = others.iter().chain([&world.host]).collect();
    let pause_max = world.host.app.queues.max_polling_interval;
    world.put(r#"{"user":"long"}"#).await;
    let arrive = async {
        world
            .lastfm
            .requests_reached(size.backfill_pages.min(30))
            .await;
        let put_ms = now_ms();
        for name in &names {
            world.put(&format!(r#"{{"user":"{name}"}}"#)).await;
        }
        put_ms
    };
    let work = work_until(&hosts, pause_max, || are_up_to_date(&hosts, &names));
    let ((), put_ms) = tokio::join!(work, arrive);
    for name in &names {
        world.expect_archived(name).await;
    }
    let lines = hosts.iter().flat_map(|host| milestones(host));
    let small = lines.filter(|line| line["user"] != "long" && line["plays"] == 1);
    let ends_ms = small.map(|line| {
        let time: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
        time.as_millisecond()
    });
    let end_ms = ends_ms.max().unwrap();
    let backfill = world.lastfm.with(|lastfm| {
        let requests = lastfm.log.entries().iter().map(|entry| &entry.request);
        let meanwhile = requests.filter(|request| (put_ms..end_ms).contains(&request.at_ms));
        meanwhile.filter(|request| request.is_for("long")).count()
    });
    Fairness {
        slowest_s: float(usize::try_from(end_ms - put_ms).unwrap()) / 1_000.0,
        backfill: float(backfill),
    }
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
