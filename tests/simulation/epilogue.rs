//! When everything is quiet, so many days with nothing but a reconcile each: what was late, removed or edited meanwhile
//! has to be found.

use crate::host::{Process, Worker, tick};
use crate::reading::archives;
use crate::schedule::take_messages;
use crate::view::Differences;
use crate::world::{Shared, lock};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Days until the whole history was counted, and two more: for the second look at what was missing then, and because the
/// limits between its stretches move.
const DAYS: u32 = 31;

/// Looks at the queue until a day's work must be done.
const LOOKS_MAX: u32 = 3_000;

/// Lets the days pass, and says what is wrong at their end.
pub(crate) async fn play(shared: &Shared) -> Vec<String> {
    let since = {
        let mut world = lock(shared);
        // Nothing of the budget is at stake any more, and there is no need to make each day expensive.
        world.rate = 0;
        world.blobs.names_max = 5_000;
        let since = world.now_ms().div_euclid(1_000);
        world.say("host", format!("an epilogue of {DAYS} days"));
        since
    };
    let worker = {
        let mut world = lock(shared);
        let page_size = *world.random.choice(&[50, 200, 1_000]).expect("some");
        Process {
            page_size,
            pages: 40,
            skew_ms: 0,
            block_bytes: 4 << 20,
            rate: "0",
        }
    };
    let worker = Worker::with(shared, "e".to_owned(), &worker);
    let workers = [worker];
    let mut first = since;
    for day in 0..DAYS {
        tokio::time::sleep(Duration::from_hours(24)).await;
        if day == 0 {
            first = lock(shared).now_ms().div_euclid(1_000);
        }
        tick(shared, &workers[0], "reconcile_users");
        if !until_quiet(shared, &workers).await {
            return vec![format!("day {day} of the epilogue is not quiet")];
        }
    }
    let world = lock(shared);
    // What is wrong with the lines themselves is told by the checker.
    let archives = archives(&world, &mut Vec::new());
    let mut wrong = Vec::new();
    for truth in &world.truths {
        if let Some(archive) = archives.get(&truth.user.to_lowercase()) {
            let differences = Differences::between(truth, archive);
            wrong.extend(differences.wrong(truth, archive, first));
        }
    }
    wrong
}

/// Delivers what is on the queues until nothing is left; false when that takes too long.
pub(crate) async fn until_quiet(shared: &Shared, workers: &[Worker]) -> bool {
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (now_ms, next_ms) = {
            let world = lock(shared);
            (world.now_ms(), world.queues.next_visible_ms())
        };
        let is_idle = |worker: &Worker| worker.busy.load(Ordering::Relaxed) == 0;
        if workers.iter().all(is_idle) {
            let Some(next_ms) = next_ms else {
                return true;
            };
            let wait_ms = u64::try_from(next_ms - now_ms).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        let now_ms = lock(shared).now_ms();
        take_messages(shared, workers, false, now_ms);
    }
    false
}
