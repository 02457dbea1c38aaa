//! `sync --dry-run`: looks without writing.

use super::plan::Window;
use crate::archive::Tail;
use crate::budget::Pacer;
use crate::environment::Environment;
use crate::lastfm::Error;
use crate::user::UserName;

/// What a work item would find to do.
#[derive(Clone, Copy, Debug)]
pub struct Preview {
    /// Second of the newest archived play.
    pub newest: Option<i64>,
    /// Plays that are not archived yet.
    pub plays: u64,
    /// Pages that hold them.
    pub pages: u64,
    /// Work items that fetch these pages.
    pub work_items: u64,
}

/// Looks without writing: the plan and the counts. The outer error is the archive's trouble, the inner Last.fm's.
pub async fn preview(
    environment: &Environment,
    user: &UserName,
) -> anyhow::Result<Result<Preview, Error>> {
    let settings = &environment.settings;
    let now = environment.clock.now();
    let tail = Tail::read(&environment.archive, user, now).await?;
    let window = Window {
        newest: tail.standing.newest,
        to: now,
    };
    let lastfm = environment.lastfm()?;
    let pacer = Pacer::new(&environment.budget);
    let mut plays = 0;
    if !window.is_empty() {
        let ask = async |page| {
            if let Err(busy) = pacer.turn().await? {
                anyhow::bail!(
                    "the request budget is used up for {} s",
                    busy.wait.as_secs()
                );
            }
            Ok(lastfm
                .recent_tracks(user, window.bounds(), settings.page_size, page)
                .await)
        };
        let mut last = match ask(1).await? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        plays = last.numbers.total;
        if last.numbers.total_pages > 1 {
            last = match ask(last.numbers.total_pages).await? {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
        }
        // The window is asked a little too wide: what is archived already stands at the old end of it.
        let archived = last
            .plays
            .iter()
            .filter(|play| window.newest.is_some_and(|newest| play.uts <= newest));
        plays = plays.saturating_sub(archived.count() as u64);
    }
    let pages = plays.div_ceil(u64::from(settings.page_size));
    let work_items = pages.div_ceil(u64::from(settings.pages_per_item));
    Ok(Ok(Preview {
        newest: window.newest,
        plays,
        pages,
        work_items,
    }))
}
