//! Asks Last.fm: how many plays a window has, and which.

use super::Comparison;
use super::differences::Differences;
use super::seconds::{Seconds, Stretch};
use crate::archive::Standing;
use crate::fetch_pages::{Fetcher, Halt, Wanted, Window, fetch_in_smaller_pages};

/// What a look at a stretch, play by play, came to.
pub(crate) struct Look {
    /// Up to here, from the stretch's first second on, every play was compared. Nothing: no second of it.
    pub(crate) covered: Option<i64>,
    pub(crate) differences: Differences,
    /// Why it is less than the stretch, if so.
    pub(crate) halt: Option<Halt>,
    /// Plays on a page that served.
    pub(crate) page_size: u32,
}

/// What narrowing a window by counting came to.
pub(crate) struct Narrowed {
    /// Stretches that differ, small enough to be looked at, and Last.fm's count of each; oldest first.
    pub(crate) differing: Vec<(Stretch, u64)>,
    /// Where counting ended early, and why.
    pub(crate) halt: Option<(Stretch, Halt)>,
}

impl Comparison<'_> {
    /// Looks at a stretch play by play: at its oldest seconds, as many as `pages` pages of `page_size` hold.
    ///
    /// The stretch must end at the archive's newest second or before. `held` is how many plays the archive has there:
    /// a guess at which page to ask first.
    pub(crate) async fn look(
        &self,
        fetcher: &Fetcher<'_>,
        stretch: Stretch,
        (pages, page_size): (u32, u32),
        held: u64,
    ) -> anyhow::Result<Look> {
        // Page 1 is asked anyway where all pages are.
        let guess = Some(held).filter(|held| held.div_ceil(page_size.into()) > pages.into());
        let standing = Standing {
            newest: stretch.from,
            ..Standing::default()
        };
        let wanted = Wanted {
            window: Window {
                newest: stretch.from,
                to: stretch.to,
            },
            standing: &standing,
            pages,
            page_size,
            guess,
            starts_at_a_play: false,
        };
        let (mut fetched, page_size) = fetch_in_smaller_pages(fetcher, wanted).await;
        let rows = std::mem::take(&mut fetched.rows);
        let top = rows.first().map(|play| play.uts);
        let cover = fetched.cover_from(&standing, top);
        let covered = if cover.closes() {
            Some(fetched.to)
        } else {
            top.map(|top| top - 1)
        };
        let covered = covered.filter(|covered| stretch.contains(*covered));
        let differences = match covered {
            Some(to) => {
                let held = self.held(Stretch { to, ..stretch }).await?;
                let shown = cover.select(self.user.name.as_str(), rows);
                Differences::between(shown, held, &self.ledger)
            }
            None => Differences::default(),
        };
        Ok(Look {
            covered,
            differences,
            halt: fetched.halt,
            page_size,
        })
    }

    /// Last.fm's count of a stretch that begins at a cut and ends before one.
    pub(crate) async fn count(&self, fetcher: &Fetcher<'_>, stretch: Stretch) -> Result<u64, Halt> {
        // Asked one second too wide at both ends, like everything.
        let window = Window {
            newest: stretch.from,
            to: stretch.to,
        };
        fetcher.count(window.bounds()).await
    }

    /// Counts a stretch that begins at a cut and ends before one, and halves it as long as that asks less often than
    /// looking at all of it. A difference costs two requests for each halving.
    pub(crate) async fn narrow(
        &self,
        fetcher: &Fetcher<'_>,
        stretch: Stretch,
        seconds: &Seconds,
        page_size: u32,
    ) -> Narrowed {
        let mut differing = Vec::new();
        let mut open = vec![stretch];
        while let Some(stretch) = open.pop() {
            let shown = match self.count(fetcher, stretch).await {
                Ok(shown) => shown,
                Err(halt) => {
                    let rest = Stretch {
                        to: open.first().map_or(stretch.to, |last| last.to),
                        ..stretch
                    };
                    return Narrowed {
                        differing,
                        halt: Some((rest, halt)),
                    };
                }
            };
            let held = seconds.count(stretch);
            let difference = shown.abs_diff(held);
            if difference == 0 {
                continue;
            }
            let pages = shown.max(held).div_ceil(page_size.into()).max(1);
            let halves = seconds
                .halves(stretch)
                .filter(|_| halving_asks_less(pages, difference));
            match halves {
                // The older one comes first.
                Some([older, newer]) => open.extend([newer, older]),
                None => differing.push((stretch, shown)),
            }
        }
        Narrowed {
            differing,
            halt: None,
        }
    }
}

/// Whether finding `differences` by halving asks less often than fetching all `pages`.
fn halving_asks_less(pages: u64, differences: u64) -> bool {
    let halvings = u64::from(pages.next_power_of_two().trailing_zeros());
    differences.saturating_mul(2 * halvings + 1) < pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_halved_only_where_that_asks_less() {
        assert!(!halving_asks_less(1, 1) && !halving_asks_less(7, 1));
        assert!(halving_asks_less(8, 1) && halving_asks_less(900, 20));
        assert!(!halving_asks_less(900, 900));
    }
}
