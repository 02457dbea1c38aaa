//! Which part of the older history a day's run counts. Pure: values in, values out.

use crate::archive::Month;

/// In so many days the whole history is counted. A prime, so that a timer that runs every other day, or once a week,
/// comes by every stretch as well.
const STRETCHES: i64 = 29;

const DAY_S: i64 = 24 * 60 * 60;

/// Months from the first to the last, those without plays among them, that the run of second `to` counts.
///
/// The only state is the date. The history grows meanwhile, which moves the limits between stretches by a month at most,
/// so each begins a month early.
pub(super) fn months_of_run(first: Month, last: Month, to: i64) -> (Month, Month) {
    let count = (last.number() - first.number() + 1).max(1);
    let stretch = to.div_euclid(DAY_S).rem_euclid(STRETCHES);
    let start = stretch * count / STRETCHES;
    let end = (stretch + 1) * count / STRETCHES;
    let start = (start - 1).max(0);
    let end = end.max(start + 1);
    (
        Month::from_number(first.number() + start),
        Month::from_number(first.number() + end - 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(year: i16, month: i8) -> Month {
        Month { year, month }
    }

    #[test]
    fn every_month_is_counted_within_thirty_days_while_the_history_grows() {
        for months in [1, 2, 20, 28, 29, 30, 57, 58, 59, 300] {
            for growth in 0..30 {
                let first = month(2001, 3);
                let mut counted = std::collections::BTreeSet::new();
                for day in 0..30 {
                    // A new month begins on one of the days.
                    let last = first.number() + months - 1 + i64::from(day >= growth);
                    let last = Month::from_number(last);
                    let (from, to) = months_of_run(first, last, (day + 7) * DAY_S + 60);
                    assert!(first <= from && from <= to && to <= last);
                    counted.extend(from.number()..=to.number());
                }
                let wanted = first.number()..first.number() + months;
                assert!(
                    wanted.clone().all(|month| counted.contains(&month)),
                    "{months} months: {counted:?}"
                );
            }
        }
    }

    #[test]
    fn a_day_s_stretch_is_a_small_part() {
        let (from, to) = months_of_run(month(2004, 1), month(2023, 12), 20_000 * DAY_S);
        assert!(to.number() - from.number() < 11, "{from} to {to}");
    }
}
