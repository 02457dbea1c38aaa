//! What the archive has, month by month, and where its windows are cut. Pure: values in, values out.

use crate::archive::Month;
use crate::comparison::{Seconds, Stretch};
use std::collections::BTreeMap;

/// One archived play: when, and what it counts as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) uts: i64,
    /// In a `late` file.
    pub(super) is_late: bool,
    /// Last.fm no longer has it.
    pub(super) is_removed: bool,
}

/// The plays of a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Lines in `part` files.
    pub(crate) archived: u64,
    /// Lines in `late` files.
    pub(crate) late: u64,
    /// Of both, those that Last.fm no longer has.
    pub(crate) removed: u64,
    /// What Last.fm shows.
    pub(crate) lastfm: i64,
}

impl Sums {
    /// What should be shown today by the archive.
    pub(crate) fn view(&self) -> i64 {
        let number = |plays: u64| i64::try_from(plays).unwrap_or(i64::MAX);
        number(self.archived) + number(self.late) - number(self.removed)
    }

    /// What Last.fm shows more than the archive.
    pub(crate) fn difference(&self) -> i64 {
        self.lastfm - self.view()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.archived += other.archived;
        self.late += other.late;
        self.removed += other.removed;
        self.lastfm += other.lastfm;
    }
}

/// Counts the archive's plays of a stretch by month. Last.fm's side is left at nothing.
pub(super) fn by_month(moments: &[Moment], stretch: Stretch) -> BTreeMap<Month, Sums> {
    let mut months: BTreeMap<Month, Sums> = BTreeMap::new();
    for moment in moments.iter().filter(|moment| stretch.contains(moment.uts)) {
        let sums = months.entry(Month::of(moment.uts)).or_default();
        if moment.is_late {
            sums.late += 1;
        } else {
            sums.archived += 1;
        }
        sums.removed += u64::from(moment.is_removed);
    }
    months
}

/// Today's view: when the archive has plays that are not removed.
pub(super) fn seconds(moments: &[Moment]) -> Seconds {
    let there = moments.iter().filter(|moment| !moment.is_removed);
    Seconds::new(there.map(|moment| moment.uts).collect())
}

/// Cuts a stretch that begins at a cut and ends before one into windows of a month with plays each. What lies between two
/// of these months belongs to the later one, so that nothing is left out.
pub(super) fn windows(
    stretch: Stretch,
    seconds: &Seconds,
    months: impl Iterator<Item = Month>,
) -> Vec<Stretch> {
    let mut windows = Vec::new();
    let mut from = stretch.from;
    // A month ends where the next one begins, or a little later: where the archive has two seconds without a play.
    for month in months {
        let next = Month::from_number(month.number() + 1);
        let cut = seconds.cut_behind(next.first_second());
        if cut > stretch.to {
            break;
        }
        let window = Stretch { from, to: cut - 1 };
        if seconds.count(window) > 0 {
            windows.push(window);
            from = Some(cut);
        }
    }
    // The last month goes on to the end, whatever comes behind its plays.
    let rest = Stretch { from, ..stretch };
    match windows.last_mut() {
        Some(last) if seconds.count(rest) == 0 => last.to = stretch.to,
        _ => windows.push(rest),
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAY: i64 = 1_714_521_600;
    const DAY: i64 = 86_400;

    fn moment(uts: i64) -> Moment {
        Moment {
            uts,
            is_late: false,
            is_removed: false,
        }
    }

    /// The windows of an archive with these plays.
    fn cut(plays: &[i64], from: Option<i64>, to: i64) -> Vec<Stretch> {
        let moments: Vec<Moment> = plays.iter().copied().map(moment).collect();
        let stretch = Stretch { from, to };
        let months = by_month(&moments, stretch);
        let seconds = seconds(&moments);
        let windows = windows(stretch, &seconds, months.keys().copied());
        // Nothing is left out, and nothing is asked twice.
        assert_eq!((windows[0].from, windows[windows.len() - 1].to), (from, to));
        for pair in windows.windows(2) {
            assert_eq!(pair[1].from, Some(pair[0].to + 1));
        }
        windows
    }

    #[test]
    fn each_month_with_plays_is_one_window() {
        let plays = [MAY - 40 * DAY, MAY + 5, MAY + 9, MAY + 70 * DAY];
        let windows = cut(&plays, None, MAY + 200 * DAY);
        let ends: Vec<i64> = windows.iter().map(|window| window.to - MAY).collect();
        assert_eq!(windows.len(), 3);
        assert!(ends[0] < 5 && ends[1] > 9 && ends[1] < 70 * DAY, "{ends:?}");
        assert_eq!(cut(&[], None, 100).len(), 1);
        assert_eq!(cut(&[5], Some(0), 100).len(), 1);
    }

    #[test]
    fn a_month_is_not_cut_beside_a_play() {
        let windows = cut(&[MAY - 1, MAY, MAY + 2, MAY + 50], None, MAY + 100);
        assert_eq!(windows[0].to, MAY + 3);
        // No room at all.
        assert_eq!(cut(&[MAY - 1, MAY, MAY + 1], None, MAY + 2).len(), 1);
    }

    #[test]
    fn removed_plays_count_on_neither_side_of_a_difference() {
        let gone = Moment {
            is_removed: true,
            ..moment(MAY)
        };
        let late = Moment {
            is_late: true,
            ..moment(MAY + 1)
        };
        let moments = [gone, late, moment(MAY + 2), moment(MAY - 9)];
        let stretch = Stretch {
            from: Some(MAY),
            to: MAY + 9,
        };
        let months = by_month(&moments, stretch);
        let sums = Sums {
            archived: 2,
            late: 1,
            removed: 1,
            lastfm: 0,
        };
        assert_eq!(months.values().collect::<Vec<_>>(), [&sums]);
        assert_eq!((sums.view(), sums.difference()), (2, -2));
        assert_eq!(seconds(&moments).count(stretch), 2);
    }
}
