//! Which pages to ask for, and which plays of them are new. Pure: values in, values out.

use crate::archive::Standing;
use crate::lastfm::{Bounds, Numbers};
use crate::scrobble::{Play, PlayId};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

/// The frozen window `(newest, to]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Nothing: no lower bound.
    pub(crate) newest: Option<i64>,
    /// The last second of the window.
    pub(crate) to: i64,
}

impl Window {
    /// Whether there is anything to ask for.
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_some_and(|newest| self.to <= newest)
    }

    /// What to ask Last.fm: one second wider at both ends, so that every reading of the bounds, inclusive or
    /// exclusive, covers the window and the whole of its first second.
    pub(crate) fn bounds(&self) -> Bounds {
        // From 0 on and from -1 on is everything; Last.fm's answer to a negative second is unknown.
        let from = self
            .newest
            .filter(|newest| *newest > 1)
            .map(|newest| newest - 1);
        Bounds {
            from,
            to: self.to + 1,
        }
    }
}

/// The last `pages` pages (the oldest plays) of a window.
pub(super) fn last_pages(numbers: Numbers, pages: u32) -> RangeInclusive<u32> {
    let last = numbers.total_pages;
    last.saturating_sub(pages.max(1) - 1).max(1)..=last
}

/// Which of `range` to ask for next, skipping what is in hand.
///
/// The newest page first, since it decides how far the range reaches; then from the oldest on, so that a stop
/// at any moment leaves an unbroken run of oldest pages.
pub(super) fn order(range: &RangeInclusive<u32>, in_hand: impl Fn(u32) -> bool) -> Vec<u32> {
    let (newest, oldest) = (*range.start(), *range.end());
    let mut pages = vec![newest];
    pages.extend((newest + 1..=oldest).rev());
    pages.retain(|page| !in_hand(*page));
    pages
}

/// Seconds of which a play stands on both of two neighbouring pages: their order changed between the answers,
/// or a play truly repeats. Only asking for such a second in one answer tells.
///
/// `pages` are in page order (newest first).
pub(super) fn torn_seconds<'a>(pages: impl Iterator<Item = &'a [Play]>) -> Vec<i64> {
    let mut torn = Vec::new();
    let mut newer: Option<(i64, Vec<&Play>)> = None;
    for plays in pages {
        let (Some(top), Some(bottom)) = (plays.first(), plays.last()) else {
            continue;
        };
        if let Some((second, above)) = &newer
            && *second == top.uts
        {
            let above: HashSet<_> = above.iter().map(|play| play.identity()).collect();
            let repeated = plays
                .iter()
                .take_while(|play| play.uts == top.uts)
                .any(|play| above.contains(&play.identity()));
            if repeated && !torn.contains(second) {
                torn.push(*second);
            }
        }
        let mut above: Vec<&Play> = plays
            .iter()
            .rev()
            .take_while(|play| play.uts == bottom.uts)
            .collect();
        // A second may span several pages: what stood above on its earlier pages still counts.
        if let Some((second, earlier)) = newer.take()
            && second == bottom.uts
        {
            above.extend(earlier);
        }
        newer = Some((bottom.uts, above));
    }
    torn
}

/// A run of oldest pages: what it covers of the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover<'a> {
    /// Where the archive ends.
    pub(super) standing: &'a Standing,
    /// The last second of the window.
    pub(super) to: i64,
    /// The newest second in hand.
    pub(super) top: Option<i64>,
    /// The run holds the newest page of the window.
    pub(super) reaches_top: bool,
}

impl<'a> Cover<'a> {
    /// Whether every play of the window is in hand. A row behind the window (`to` is asked inclusively) proves it
    /// as well as the newest page does.
    pub(crate) fn closes(&self) -> bool {
        self.reaches_top || self.top.is_some_and(|top| top > self.to)
    }

    /// Whether all plays of this second are in hand, and it belongs to the window. The newest second in hand may go
    /// on on the next page, so it waits for the next item unless the window closes.
    pub(crate) fn wants(&self, second: i64) -> bool {
        second <= self.to
            && self.standing.newest.is_none_or(|newest| second >= newest)
            && (self.closes() || Some(second) != self.top)
    }

    /// Whether `seconds`, those of all rows in hand, hold anything that the archive lacks.
    pub(crate) fn has_new(&self, seconds: impl Iterator<Item = i64>) -> bool {
        let mut shown_at_newest = 0;
        for second in seconds.filter(|second| self.wants(*second)) {
            if Some(second) != self.standing.newest {
                return true;
            }
            shown_at_newest += 1;
        }
        shown_at_newest > self.standing.held.len()
    }

    /// Picks what the archive lacks from `rows`, newest first as Last.fm lists them: whole seconds, oldest first,
    /// each play with its id.
    ///
    /// Plays at the archive's newest second are taken only when there are more of them than it holds, and then
    /// those that it lacks.
    pub(crate) fn select(
        self,
        user: &'a str,
        mut rows: Vec<Play>,
    ) -> impl Iterator<Item = (Play, PlayId)> + 'a {
        rows.retain(|play| self.wants(play.uts));
        // They come newest first. Turned round, but for the order inside each second, which stays Last.fm's.
        rows.reverse();
        for second in rows.chunk_by_mut(|one, next| one.uts == next.uts) {
            second.reverse();
        }
        let Standing { newest, held } = self.standing;
        let shown_at_newest = rows
            .iter()
            .take_while(|play| Some(play.uts) == *newest)
            .count();
        let more_at_newest = shown_at_newest > held.len();
        with_ids(user, rows).filter(move |(play, id)| {
            Some(play.uts) != *newest || (more_at_newest && !held.contains(id))
        })
    }
}

/// Numbers true repeats within each second, in the given order.
fn with_ids(user: &str, plays: Vec<Play>) -> impl Iterator<Item = (Play, PlayId)> {
    let mut second = None;
    let mut repeats: HashMap<(Box<str>, Box<str>), u32> = HashMap::new();
    let mut plays = plays.into_iter().peekable();
    std::iter::from_fn(move || {
        let play = plays.next()?;
        let alone =
            second != Some(play.uts) && plays.peek().is_none_or(|next| next.uts != play.uts);
        if second != Some(play.uts) {
            second = Some(play.uts);
            repeats.clear();
        }
        let ordinal = if alone {
            0
        } else {
            let (_, artist, track) = play.identity();
            let count = repeats.entry((artist.into(), track.into())).or_insert(0);
            *count += 1;
            *count - 1
        };
        let id = PlayId::new(user, &play, ordinal);
        Some((play, id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrobble::Words;

    fn play(uts: i64, track: &str) -> Play {
        let words = Words {
            artist: "a",
            track,
            ..Words::default()
        };
        Play::new(uts, &words).unwrap()
    }

    fn rows(text: &str) -> Vec<Play> {
        text.split_whitespace()
            .map(|row| {
                let (track, uts) = row.split_at(1);
                play(uts.parse().unwrap(), track)
            })
            .collect()
    }

    fn standing(newest: i64, held: &str) -> Standing {
        let held = rows(held)
            .iter()
            .map(|play| PlayId::new("rj", play, 0))
            .collect();
        Standing {
            newest: Some(newest),
            held,
        }
    }

    #[track_caller]
    fn check(
        standing: &Standing,
        newest_first: &str,
        reaches_top: bool,
        expect: &str,
        closes: bool,
    ) {
        let rows = rows(newest_first);
        let cover = Cover {
            standing,
            to: 100,
            top: rows.first().map(|play| play.uts),
            reaches_top,
        };
        let has_new = cover.has_new(rows.iter().map(|play| play.uts));
        let plays = cover.select("rj", rows).collect::<Vec<_>>();
        let names: Vec<String> = plays
            .iter()
            .map(|(play, _)| format!("{}{}", play.words().track, play.uts))
            .collect();
        assert_eq!((names.join(" ").as_str(), cover.closes()), (expect, closes));
        assert_eq!(has_new, !expect.is_empty());
    }

    #[test]
    fn the_newest_second_waits_unless_the_window_closes() {
        check(&Standing::default(), "d9 c9 b8 a7", false, "a7 b8", false);
        check(
            &Standing::default(),
            "d9 c9 b8 a7",
            true,
            "a7 b8 d9 c9",
            true,
        );
        check(&Standing::default(), "d9 c9", false, "", false);
    }

    #[test]
    fn a_row_behind_the_window_closes_it() {
        check(
            &Standing::default(),
            "e101 d100 c99",
            false,
            "c99 d100",
            true,
        );
        check(&Standing::default(), "e102 d101", false, "", true);
    }

    #[test]
    fn plays_at_the_archived_second_are_taken_only_when_there_are_more_of_them() {
        check(&standing(7, "a7"), "c9 b8 a7 z6", true, "b8 c9", true);
        check(&standing(7, "a7"), "c9 b7 a7", true, "b7 c9", true);
        // An edit: as many as before, so nothing changes.
        check(&standing(7, "a7"), "c9 x7", true, "c9", true);
        // The archived second may go on on the next page: not judged yet.
        check(&standing(7, "a7"), "b7 a7", false, "", false);
    }

    #[test]
    fn no_archive_is_not_second_zero() {
        check(&Standing::default(), "b1 a0", true, "a0 b1", true);
        check(&standing(0, "a0"), "b1 a0", true, "b1", true);
    }

    #[test]
    fn true_repeats_have_ids_of_their_own() {
        let cover = Cover {
            standing: &Standing::default(),
            to: 100,
            top: Some(7),
            reaches_top: true,
        };
        let ids: HashSet<_> = cover
            .select("rj", rows("a7 b7 a7"))
            .map(|(_, id)| id)
            .collect();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn a_play_on_both_sides_of_a_page_boundary_is_noticed() {
        let torn = |pages: &[&str]| {
            let pages: Vec<_> = pages.iter().map(|page| rows(page)).collect();
            torn_seconds(pages.iter().map(Vec::as_slice))
        };
        assert!(torn(&["d9 b8", "a8 c7"]).is_empty());
        assert_eq!(torn(&["d9 b8", "b8 c7"]), [8]);
        assert_eq!(torn(&["d9 b8", "a8", "b8 c7"]), [8]);
        assert!(torn(&["d9 b8", "b7 c7"]).is_empty());
        assert!(torn(&["d9 d9", "b7 b7"]).is_empty());
    }

    #[test]
    fn the_range_is_the_last_pages_and_its_newest_is_asked_first() {
        let numbers = Numbers {
            total: 101,
            total_pages: 11,
            per_page: 10,
        };
        assert_eq!(last_pages(numbers, 3), 9..=11);
        assert_eq!(last_pages(numbers, 40), 1..=11);
        assert_eq!(order(&(9..=11), |_| false), [9, 11, 10]);
        assert_eq!(order(&(9..=11), |page| page == 11), [9, 10]);
        assert_eq!(order(&(11..=11), |_| false), [11]);
        assert_eq!(
            (numbers.rows_on(1), numbers.rows_on(11), numbers.rows_on(12)),
            (10, 1, 0)
        );
    }

    #[test]
    fn bounds_are_asked_one_second_too_wide() {
        let bounds = |newest| Window { newest, to: 100 }.bounds();
        assert_eq!(
            bounds(Some(50)),
            Bounds {
                from: Some(49),
                to: 101
            }
        );
        assert_eq!(
            bounds(Some(0)),
            Bounds {
                from: None,
                to: 101
            }
        );
        assert_eq!(
            bounds(None),
            Bounds {
                from: None,
                to: 101
            }
        );
        assert!(
            Window {
                newest: Some(100),
                to: 100
            }
            .is_empty()
        );
        assert!(
            !Window {
                newest: None,
                to: 0
            }
            .is_empty()
        );
    }
}
