//! One work item under way: fetch, then commit.

use super::blocks::{Block, Blocks};
use super::message::FetchPages;
use super::outcome::Outcome;
use super::pages::Fetcher;
use super::plan::Window;
use super::range::{Fetched, Wanted, fetch_in_smaller_pages, larger};
use super::report::Report;
use crate::archive::{DataName, Landing, Place, Series, Tail};
use crate::environment::Environment;
use crate::scrobble::LineWriter;
use crate::user::User;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// After this long no further block is appended. The host kills the process at `functionTimeout`, two minutes.
const APPEND_TIME_MAX: Duration = Duration::from_secs(85);

/// One item with what was read for it.
pub(super) struct Step<'a> {
    pub(super) environment: &'a Environment,
    pub(super) item: &'a FetchPages,
    /// Now or before, so its copies are too.
    pub(super) redelivered: bool,
    pub(super) user: &'a User,
    pub(super) tail: Tail,
    pub(super) window: Window,
    pub(super) started: Instant,
}

impl Step<'_> {
    /// Fetches the range. Gives the page size that served.
    pub(super) async fn fetch(&self, fetcher: &Fetcher<'_>) -> (Fetched, u32) {
        let settings = &self.environment.settings;
        let wanted = Wanted {
            window: self.window,
            standing: &self.tail.standing,
            pages: self
                .item
                .pages
                .unwrap_or(settings.pages_per_item)
                .min(settings.pages_per_item),
            page_size: self.item.page_size.unwrap_or(settings.page_size),
            guess: self.item.total,
            starts_at_a_play: self.window.newest.is_some(),
        };
        fetch_in_smaller_pages(fetcher, wanted).await
    }

    /// Appends what is new, and says what is left to do.
    pub(super) async fn commit(
        &self,
        mut fetched: Fetched,
        page_size: u32,
        report: &Report<'_>,
    ) -> anyhow::Result<Outcome> {
        let cover = fetched.cover(&self.tail.standing);
        let closes = cover.closes();
        let seconds: Vec<i64> = fetched.rows.iter().map(|play| play.uts).collect();
        let plays = cover.select(self.user.name.as_str(), std::mem::take(&mut fetched.rows));
        let writer = LineWriter::new(self.user, self.environment.clock.now_ms());
        let limit = self.environment.block_bytes_max;
        let mut blocks = Blocks::new(plays, writer, limit).peekable();
        let mut place: Option<Place> = None;
        let mut landed: Option<i64> = None;
        while let Some(block) = blocks.next() {
            let block = block?;
            let mut target = self.place_of(&block, place);
            let bytes = Bytes::from(block.lines);
            match self.environment.archive.append(&mut target, &bytes).await? {
                Landing::Landed => report.append(block.plays, bytes.len(), block.newest),
                // Whoever was first has planned on, and sends the continuation.
                Landing::Stale => return Ok(Outcome::Stale),
            }
            landed = Some(block.newest);
            place = Some(target);
            let in_time =
                self.started.elapsed() < APPEND_TIME_MAX && !self.environment.stop.is_requested();
            // Never inside a second that is cut into several blocks: a play that is deleted there meanwhile could hide
            // one that is not archived yet from the count rule.
            let next = blocks.peek().and_then(|next| next.as_ref().ok());
            if !in_time && next.is_some_and(|next| Some(next.newest) != landed) {
                let left =
                    self.continuation(landed.unwrap_or_default(), &fetched, &seconds, page_size);
                return Ok(Outcome::Continue(left, Duration::ZERO));
            }
        }
        match landed {
            _ if closes => Ok(Outcome::Done),
            Some(newest) => {
                let left = self.continuation(newest, &fetched, &seconds, page_size);
                Ok(Outcome::after_progress(left, fetched.halt, page_size))
            }
            None => self.without_progress(fetched, page_size),
        }
    }

    /// Where a block must land: behind the one before, or at the archive's end, or at the start of its month.
    fn place_of(&self, block: &Block, before: Option<Place>) -> Place {
        let series = Series::Part(block.month);
        let same_month = |name: &DataName| name.series == series;
        if let Some(place) = before.filter(|place| same_month(&place.name)) {
            return place;
        }
        match &self.tail.end {
            Some(end) if same_month(&end.name) => Place {
                name: end.name.clone(),
                position: end.position,
            },
            _ => {
                let name = DataName {
                    user: self.user.name.clone(),
                    series,
                    part: 0,
                };
                Place { name, position: 0 }
            }
        }
    }

    /// The item that goes on behind the second `newest`.
    fn continuation(
        &self,
        newest: i64,
        fetched: &Fetched,
        seconds: &[i64],
        page_size: u32,
    ) -> FetchPages {
        // The next window starts one second before, so rows from there on are counted again.
        let behind = seconds
            .iter()
            .filter(|second| **second < newest - 1)
            .count() as u64;
        let usual = self.environment.settings.page_size;
        let shrunk = page_size < self.item.page_size.unwrap_or(usual);
        // After a page that failed, sizes go up again one step an item.
        let page_size = if shrunk {
            page_size
        } else {
            larger(page_size).min(usual)
        };
        FetchPages {
            from: Some(newest),
            to: Some(fetched.to),
            pages: self.item.pages,
            total: fetched.total.map(|total| total.saturating_sub(behind)),
            page_size: Some(page_size),
            ..FetchPages::of(self.item.user.clone(), None)
        }
    }
}
