//! When the archive has plays: counting its side of a window, and where to cut. Pure: values in, values out.

/// Some seconds without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The first second; nothing: from the beginning on.
    pub(crate) from: Option<i64>,
    /// The last second.
    pub(crate) to: i64,
}

impl Stretch {
    /// Whether it has this second.
    pub(crate) fn contains(self, second: i64) -> bool {
        self.from.is_none_or(|from| from <= second) && second <= self.to
    }

    /// Whether it has no second at all.
    pub(crate) fn is_empty(self) -> bool {
        self.from.is_some_and(|from| from > self.to)
    }
}

/// The seconds of archived plays, in order; as often as there are plays.
#[derive(Debug, Default)]
pub(crate) struct Seconds(Vec<i64>);

impl Seconds {
    pub(crate) fn new(mut seconds: Vec<i64>) -> Self {
        seconds.sort_unstable();
        Self(seconds)
    }

    /// How many plays the stretch has.
    pub(crate) fn count(&self, stretch: Stretch) -> u64 {
        self.of(stretch).len() as u64
    }

    fn of(&self, stretch: Stretch) -> &[i64] {
        let start = stretch
            .from
            .map_or(0, |from| self.0.partition_point(|second| *second < from));
        let end = self.0.partition_point(|second| *second <= stretch.to);
        self.0.get(start..end).unwrap_or_default()
    }

    /// Whether neither this second nor the one before has a play. Here a window may be cut: whether Last.fm's bounds
    /// include their seconds is not established, so both windows are asked one second too wide, and so their counts
    /// are right either way.
    fn is_cut(&self, second: i64) -> bool {
        let around = Stretch {
            from: Some(second - 1),
            to: second,
        };
        self.of(around).is_empty()
    }

    /// The first cut at or behind this second.
    pub(crate) fn cut_behind(&self, mut second: i64) -> i64 {
        // Each step passes a play, so this ends.
        while !self.is_cut(second) {
            second += 1;
        }
        second
    }

    /// The last cut at or before this second.
    pub(crate) fn cut_before(&self, mut second: i64) -> i64 {
        while !self.is_cut(second) {
            second -= 1;
        }
        second
    }

    /// Cuts the stretch near the middle of its plays. Nothing when it cannot be cut inside.
    pub(crate) fn halves(&self, stretch: Stretch) -> Option<[Stretch; 2]> {
        let plays = self.of(stretch);
        let middle = match (plays.get(plays.len() / 2), stretch.from) {
            (Some(middle), _) => *middle,
            (None, Some(from)) => from + (stretch.to - from) / 2,
            (None, None) => return None,
        };
        // Without a lower bound, a cut before all plays would leave everything on one side.
        let is_inside = |cut: &i64| {
            let has_left = match stretch.from {
                Some(from) => from < *cut,
                None => plays.first().is_some_and(|first| first < cut),
            };
            has_left && *cut <= stretch.to
        };
        let cut = [self.cut_behind(middle), self.cut_before(middle)]
            .into_iter()
            .find(is_inside)?;
        Some([
            Stretch {
                to: cut - 1,
                ..stretch
            },
            Stretch {
                from: Some(cut),
                to: stretch.to,
            },
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(from: impl Into<Option<i64>>, to: i64) -> Stretch {
        let from = from.into();
        Stretch { from, to }
    }

    #[test]
    fn plays_are_counted_within_both_bounds() {
        let seconds = Seconds::new(vec![9, 5, 5, 1]);
        for (from, to, count) in [
            (None, 9, 4),
            (Some(1), 5, 3),
            (Some(2), 4, 0),
            (Some(5), 5, 2),
        ] {
            assert_eq!(seconds.count(stretch(from, to)), count);
        }
        assert!(stretch(5, 4).is_empty() && !stretch(5, 5).is_empty());
    }

    #[test]
    fn a_cut_has_no_play_on_either_side() {
        let seconds = Seconds::new(vec![5, 6, 8]);
        assert_eq!((seconds.cut_behind(2), seconds.cut_behind(5)), (2, 10));
        assert_eq!((seconds.cut_before(8), seconds.cut_before(12)), (4, 12));
    }

    #[track_caller]
    fn halves(plays: &[i64], whole: Stretch, expect: Option<i64>) {
        let halves = Seconds::new(plays.to_vec()).halves(whole);
        let cut = halves.map(|[left, right]| {
            assert_eq!((left.from, right.to), (whole.from, whole.to));
            assert!(!left.is_empty() && !right.is_empty());
            assert_eq!(right.from, Some(left.to + 1));
            left.to + 1
        });
        assert_eq!(cut, expect);
    }

    #[test]
    fn a_stretch_is_halved_by_its_plays() {
        halves(&[10, 20, 30, 40], stretch(0, 100), Some(32));
        halves(&[10, 20, 30, 40], stretch(None, 100), Some(32));
        halves(&[], stretch(0, 100), Some(50));
        halves(&[], stretch(None, 100), None);
        halves(&[], stretch(7, 7), None);
        // Nothing but plays: undated ones are numbered from 0 on.
        halves(&[0, 1, 2, 3], stretch(None, 3), None);
        halves(&[0, 1, 2, 3], stretch(-5, 3), Some(-1));
    }

    #[test]
    fn halving_ends() {
        let seconds = Seconds::new(vec![0, 0, 1, 2, 5, 6, 900, 900, 5_000]);
        for whole in [stretch(None, 6_000), stretch(-10, 6_000)] {
            let mut open = vec![whole];
            let mut leaves = 0;
            while let Some(stretch) = open.pop() {
                match seconds
                    .halves(stretch)
                    .filter(|_| seconds.count(stretch) > 1)
                {
                    Some(halves) => open.extend(halves),
                    None => leaves += 1,
                }
            }
            assert!((3..30).contains(&leaves), "{leaves}");
        }
    }
}
