//! Compares what the archive holds of a user with what Last.fm shows, and writes down what differs.
//!
//! Counting is cheap: one request tells how many plays a window has, whatever its size ([`Seconds`] counts the archive's
//! side). Where the counts differ the window is halved until it is small enough to be looked at play by play
//! ([`Differences`]). What the archive lacks is appended to `late-N.ndjson` in its month; what Last.fm no longer has is
//! noted below `removed/` ([`Ledger`]). Archived lines are never changed.
//!
//! Why this never meets the sync: see "Late plays" in ARCHITECTURE.md.

mod differences;
mod held;
mod ledger;
mod look;
mod record;
mod seconds;

pub(crate) use differences::Differences;
pub(crate) use look::Look;
pub(crate) use record::Recorded;
pub(crate) use seconds::{Seconds, Stretch};

use crate::archive::{DataFile, Series, Tail};
use crate::clock::duration_of_ms;
use crate::environment::Environment;
use crate::user::User;
use ledger::Ledger;
use std::time::Duration;

/// Nothing is written while a part of the user has changed within this time: longer than any invocation of `fetch_pages`
/// lives (105 s) and any request of it is under way, so whoever may still append has seen the archive as it is now.
const QUIET_MS: i64 = 180_000;

const DAY_S: i64 = 24 * 60 * 60;

/// One user's archive, as it stood when the comparison was begun.
pub(crate) struct Comparison<'a> {
    environment: &'a Environment,
    user: User,
    /// Those with plays; lengths follow what this comparison appends.
    files: Vec<DataFile>,
    tail: Tail,
    ledger: Ledger,
    /// Two looks with different marks are two looks.
    run: String,
}

impl<'a> Comparison<'a> {
    /// Reads where the user's archive stands. `run` is the mark of this run.
    pub(crate) async fn begin(
        environment: &'a Environment,
        user: User,
        run: String,
    ) -> anyhow::Result<Self> {
        let files = environment.archive.list(&user.name).await?;
        let now = environment.clock.now();
        let tail = Tail::of_files(&environment.archive, &files, now).await?;
        let ledger = Ledger::read(&environment.archive, &user.name).await?;
        Ok(Self {
            environment,
            user,
            files,
            tail,
            ledger,
            run,
        })
    }

    /// Second of the newest archived play: up to here the archive can be compared. What is newer is the sync's business.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.tail.standing.newest
    }

    /// The files with plays.
    pub(crate) fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Stretches before `end` with plays that an earlier run did not see, oldest first: a second look settles these. No
    /// stretch is longer than a day.
    pub(crate) fn unsettled(&self, end: i64) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for uts in self.ledger.unsettled(&self.run, end) {
            let same_day = |stretch: &&mut Stretch| {
                stretch.from.map(|from| from.div_euclid(DAY_S)) == Some(uts.div_euclid(DAY_S))
            };
            match stretches.last_mut().filter(same_day) {
                Some(stretch) => stretch.to = uts,
                None => stretches.push(Stretch {
                    from: Some(uts),
                    to: uts,
                }),
            }
        }
        stretches
    }

    /// Makes what is seen from here on another look.
    pub(crate) fn begin_run(&mut self, run: String) {
        self.run = run;
    }

    /// Looks again when the user's parts last changed. What else is known stays as it was when the comparison was begun.
    pub(crate) async fn look_for_quiet(&mut self) -> anyhow::Result<()> {
        let files = self.environment.archive.list(&self.user.name).await?;
        let is_part = |file: &DataFile| matches!(file.name.series, Series::Part(_));
        for file in files.into_iter().filter(is_part) {
            let known = self.files.iter_mut().find(|known| known.name == file.name);
            match known {
                Some(known) => known.modified_ms = file.modified_ms,
                // Nothing of it is known: it counts for its date alone.
                None => self.files.push(DataFile { length: 0, ..file }),
            }
        }
        Ok(())
    }

    /// How long until the user's archive has been quiet for so long that it may be written to.
    pub(crate) fn quiet_in(&self) -> Option<Duration> {
        let parts = self
            .files
            .iter()
            .filter(|file| matches!(file.name.series, Series::Part(_)));
        let changed_ms = parts.filter_map(|file| file.modified_ms).max()?;
        let wait_ms = changed_ms + QUIET_MS - self.environment.clock.now_ms();
        (wait_ms > 0).then(|| duration_of_ms(wait_ms))
    }
}
