//! Requests that wait for the budget and go on where they were interrupted.

use super::{Step, Trouble, WAITS_MAX, Work};
use crate::budget::Pacer;
use crate::comparison::{Look, Stretch};
use crate::fetch_pages::{Fetcher, Halt};
use std::time::Duration;
use tokio::time::Instant;

/// The time for the requests of one window. Pages come at the rate of the budget, so this is ample.
const WINDOW_TIME_MAX: Duration = Duration::from_mins(10);

impl Work<'_> {
    pub(super) async fn narrow(&self, window: Stretch) -> Step<Vec<(Stretch, u64)>> {
        let mut differing = Vec::new();
        let mut left = window;
        for _ in 0..WAITS_MAX {
            let fetcher = self.fetcher()?;
            let page_size = self.environment.settings.page_size;
            let narrowed = self
                .comparison
                .narrow(&fetcher, left, &self.seconds, page_size)
                .await;
            differing.extend(narrowed.differing);
            let Some((rest, halt)) = narrowed.halt else {
                return Ok(Ok(differing));
            };
            left = rest;
            if let Some(trouble) = self.may_go_on(halt).await? {
                return Ok(Err(trouble));
            }
        }
        Ok(Err(Trouble::Halted(Halt::Deadline)))
    }

    pub(super) async fn count(&self, stretch: Stretch) -> Step<u64> {
        for _ in 0..WAITS_MAX {
            match self.comparison.count(&self.fetcher()?, stretch).await {
                Ok(shown) => return Ok(Ok(shown)),
                Err(halt) => {
                    if let Some(trouble) = self.may_go_on(halt).await? {
                        return Ok(Err(trouble));
                    }
                }
            }
        }
        Ok(Err(Trouble::Halted(Halt::Deadline)))
    }

    /// One look, whole seconds from the oldest on.
    pub(super) async fn look(&self, stretch: Stretch) -> Step<Look> {
        let settings = &self.environment.settings;
        let size = (settings.pages_per_item, settings.page_size);
        let held = self.seconds.count(stretch);
        for _ in 0..WAITS_MAX {
            let fetcher = self.fetcher()?;
            let mut look = self.comparison.look(&fetcher, stretch, size, held).await?;
            let halt = look.halt.take();
            if look.covered.is_some() {
                // Why it is not more shows by itself at the next look.
                return Ok(Ok(look));
            }
            let Some(halt) = halt else {
                return Ok(Ok(look));
            };
            if let Some(trouble) = self.may_go_on(halt).await? {
                return Ok(Err(trouble));
            }
        }
        Ok(Err(Trouble::Halted(Halt::Deadline)))
    }

    /// Waits where waiting helps; anything else is trouble.
    async fn may_go_on(&self, halt: Halt) -> anyhow::Result<Option<Trouble>> {
        match halt {
            Halt::Busy(busy) => {
                let reason = "Last.fm or the request budget is not ready";
                let waited = self.wait(busy.wait, reason).await;
                Ok((!waited).then_some(Trouble::Halted(Halt::Interrupted)))
            }
            Halt::Storage(error) => Err(error),
            halt => Ok(Some(Trouble::Halted(halt))),
        }
    }

    /// False when the process was told to end meanwhile.
    pub(super) async fn wait(&self, wait: Duration, reason: &str) -> bool {
        self.watcher.waiting(wait, reason);
        tokio::select! {
            () = self.environment.stop.requested() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    pub(super) fn fetcher(&self) -> anyhow::Result<Fetcher<'_>> {
        let deadline = Instant::now() + WINDOW_TIME_MAX;
        Ok(Fetcher::new(
            self.environment.lastfm()?,
            &self.user.name,
            Pacer::new(&self.environment.budget, deadline),
            &self.environment.stop,
            deadline,
            self.report,
        ))
    }
}
