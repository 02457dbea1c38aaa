//! One work item: fetch one page range of a user's history and append it to the archive.
//!
//! [`run`] is the whole path but the queue: tail, stale check, budget, plan, fetch, batch, append. Its rules
//! are argued for in ARCHITECTURE.md; each odd-looking one answers a counterexample.

mod blocks;
mod message;
mod outcome;
mod pages;
mod plan;
mod preview;
#[cfg(test)]
mod properties;
mod range;
mod report;
mod step;

pub use blocks::{BLOCK_BYTES_MAX, Block, Blocks};
pub use message::{FetchPages, PAGE_SIZE_MAX, PAGES_MAX};
pub use outcome::Outcome;
pub use preview::{Preview, preview};
pub use report::{Counts, Report, Seen};

use crate::archive::Tail;
use crate::budget::Pacer;
use crate::environment::Environment;
pub(crate) use outcome::PUT_BACK;
pub(crate) use pages::{Fetcher, Halt};
pub(crate) use plan::Window;
pub(crate) use range::{Wanted, fetch_in_smaller_pages};
use std::time::Duration;
use step::Step;
use tokio::time::Instant;

/// After this long no further page is fetched: what is in hand is archived and the rest is the continuation.
/// The host kills the process at `functionTimeout`, two minutes.
pub(crate) const FETCH_TIME_MAX: Duration = Duration::from_mins(1);

/// Does one work item. `redelivered`: the queue has delivered this message before.
///
/// An error is trouble with storage, or something that nobody foresaw: the message should be delivered again.
pub async fn run(
    environment: &Environment,
    item: &FetchPages,
    redelivered: bool,
    report: &Report<'_>,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let user = environment.user(&item.user);
    let files = environment.archive.list(&user.name).await?;
    // The clock is asked after the listing, whose answer may have corrected it.
    let now = environment.clock.now();
    let tail = Tail::of_files(&environment.archive, &files, now).await?;
    report.see(Seen {
        at: now,
        files,
        newest: tail.standing.newest,
    });
    let redelivered = redelivered || item.redelivered;
    if is_stale(item, &tail) && !redelivered {
        return Ok(Outcome::Stale);
    }
    let window = Window {
        newest: tail.standing.newest,
        to: item.to.unwrap_or(now).min(now),
    };
    if window.is_empty() {
        return Ok(Outcome::Done);
    }
    let deadline = started + FETCH_TIME_MAX;
    let fetcher = Fetcher::new(
        environment.lastfm()?,
        &user.name,
        Pacer::new(&environment.budget, deadline),
        &environment.stop,
        deadline,
        report,
    );
    let step = Step {
        environment,
        item,
        redelivered,
        user: &user,
        tail,
        window,
        started,
    };
    let (fetched, page_size) = step.fetch(&fetcher).await;
    step.commit(fetched, page_size, report).await
}

/// The archive has moved past the place where this item was planned.
fn is_stale(item: &FetchPages, tail: &Tail) -> bool {
    match (item.from, tail.standing.newest) {
        (Some(from), Some(newest)) => from < newest,
        _ => false,
    }
}
