//! What people want to know of each user, in a small document that every work item leaves behind.
//!
//! Observation only: nothing in this program decides by it. Who deletes it loses nothing but the answer to "since when",
//! one that cannot be read is written anew, and one that cannot be written stops nothing. Where a history stands is
//! read from the archive alone.

mod document;
mod store;

pub use document::{
    Backfill, Counted, Document, End, Event, Held, Item, LastError, LastReconcile, Moment,
};
pub use store::Store;

use crate::archive::{DataFile, Series, count_lines};
use crate::environment::Environment;
use crate::fetch_pages::{FetchPages, Outcome, Report, Seen};
use crate::user::UserName;
use std::time::Duration;
use store::Found;
use tokio::time::{Instant, timeout};

/// How often a lost race for a document is run again. Then the other's word stands: it is as new.
const TRIES_MAX: u32 = 3;

/// Reading or writing a document takes no longer than this.
const STORE_TIME_MAX: Duration = Duration::from_secs(2);

/// Counting the plays of an archive takes no longer than this, so that an item that has used up its own time ends within
/// the limit of an invocation.
const COUNT_TIME_MAX: Duration = Duration::from_secs(8);

/// How a step of a reconcile ended.
#[derive(Clone, Debug)]
pub struct ReconcileStep<'a> {
    /// The mark of its run; the counts of steps with the same mark add up.
    pub run: &'a str,
    /// How it ended, in words.
    pub result: &'a str,
    /// Late plays that this step archived.
    pub late: u64,
    /// Plays that it recorded as removed.
    pub removed: u64,
    /// Plays that it recorded as returned.
    pub returned: u64,
    /// Plays that it missed for the first time.
    pub missing: u64,
}

/// Notes how a work item ended. It takes some seconds at most, and cannot fail.
pub async fn record_item(
    environment: &Environment,
    item: &FetchPages,
    result: &anyhow::Result<Outcome>,
    report: &Report<'_>,
) {
    let Some(end) = end_of(item, result) else {
        return;
    };
    let (seen, counts) = (report.seen(), report.counts());
    let at = Moment(environment.clock.now());
    let event = Item {
        began: seen.as_ref().map_or(at, |seen| Moment(seen.at)),
        at,
        held: seen.as_ref().map(held),
        plays: counts.plays,
        bytes: counts.append_bytes,
        newest: counts.newest,
        left: counts
            .plays_left
            .map(|left| left.saturating_sub(counts.plays)),
        end,
    };
    let recorded = record(environment, &item.user, async |found| {
        let mut event = event;
        if let (Some(seen), Some(held)) = (&seen, &mut event.held) {
            held.counted = counted(environment, seen, held, found).await?;
        }
        Ok(Event::Item(event))
    });
    if let Err(error) = recorded.await {
        let error = format!("{error:#}");
        // Storage that is away has been told already.
        if result.is_ok() {
            tracing::warn!(user = %item.user, error, "a status document was not written");
        } else {
            tracing::debug!(user = %item.user, error, "a status document was not written");
        }
    }
}

/// Notes how a step of a reconcile ended. It takes some seconds at most, and cannot fail.
pub async fn record_reconcile(
    environment: &Environment,
    user: &UserName,
    step: &ReconcileStep<'_>,
) {
    let event = Event::Reconcile(LastReconcile {
        at: Moment(environment.clock.now()),
        run: step.run.to_owned(),
        result: step.result.to_owned(),
        late: step.late,
        removed: step.removed,
        returned: step.returned,
        missing: step.missing,
    });
    if let Err(error) = record(environment, user, async |_| Ok(event)).await {
        let error = format!("{error:#}");
        tracing::warn!(%user, error, "a status document was not written");
    }
}

/// Puts what an event makes of the document in its place.
async fn record(
    environment: &Environment,
    user: &UserName,
    event: impl AsyncFnOnce(&Found) -> anyhow::Result<Event>,
) -> anyhow::Result<()> {
    let store = &environment.status;
    let mut found = in_time(store.find(user)).await?;
    let event = event(&found).await?;
    let replaced = async {
        for _ in 0..TRIES_MAX {
            let document = found.document.take().unwrap_or_default();
            let document = document.apply(user.as_str(), &event);
            if store.replace(user, &found, &document).await? {
                return Ok(());
            }
            found = store.find(user).await?;
        }
        tracing::debug!(%user, "others keep writing this status document");
        Ok(())
    };
    in_time(replaced).await
}

async fn in_time<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let ended = timeout(STORE_TIME_MAX, work).await;
    ended.unwrap_or_else(|_| {
        let seconds = STORE_TIME_MAX.as_secs();
        Err(anyhow::anyhow!("storage took longer than {seconds} s"))
    })
}

/// What an item's end means; nothing when it says nothing about the user.
fn end_of(item: &FetchPages, result: &anyhow::Result<Outcome>) -> Option<End> {
    let trouble = |reason: String, hint: Option<&str>| End::Trouble {
        reason,
        hint: hint.map(str::to_owned),
    };
    let end = match result {
        Ok(Outcome::Done) => End::UpToDate,
        Ok(Outcome::Continue(..)) => End::MoreToCome,
        // Another item was first, and leaves its own.
        Ok(Outcome::Stale | Outcome::Interrupted) => return None,
        Ok(Outcome::PutBack(copy, ..)) if copy.attempt == item.attempt => End::Waiting,
        Ok(Outcome::PutBack(_, _, reason) | Outcome::GaveUp(reason)) => {
            trouble(reason.clone(), None)
        }
        Ok(Outcome::Refused { reason, hint, .. }) => trouble(reason.clone(), *hint),
        Err(error) => trouble(format!("{error:#}"), None),
    };
    Some(end)
}

/// The part files of a listing.
fn parts(files: &[DataFile]) -> impl Iterator<Item = &DataFile> {
    let is_part = |file: &&DataFile| matches!(file.name.series, Series::Part(_));
    files.iter().filter(is_part)
}

fn held(seen: &Seen) -> Held {
    Held {
        bytes: parts(&seen.files).map(|file| file.length).sum(),
        newest: seen.newest,
        counted: Counted::No,
    }
}

/// The plays of the archive as the item saw it, counted if the document cannot tell.
async fn counted(
    environment: &Environment,
    seen: &Seen,
    held: &Held,
    found: &Found,
) -> anyhow::Result<Counted> {
    let document = found.document.as_ref();
    let can_tell = document.map_or(held.bytes == 0, |document| document.describes(held.bytes));
    // A process that ends has no time for it.
    if can_tell || environment.stop.is_requested() {
        return Ok(Counted::No);
    }
    let deadline = Some(Instant::now() + COUNT_TIME_MAX);
    let mut plays = 0;
    for file in parts(&seen.files) {
        match count_lines(&environment.archive, file, 0, deadline).await? {
            Some(lines) => plays += lines,
            None => return Ok(Counted::TooMany),
        }
    }
    Ok(Counted::Plays(plays))
}
