//! Every name in the archive. No other module builds a path.

use crate::user::UserName;
use jiff::Timestamp;
use jiff::tz::Offset;
use std::fmt;

/// The first second of year 0.
const YEAR_0: i64 = -62_167_219_200;

/// A month of play, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Year, four digits.
    pub year: i16,
    /// Month, 1 to 12.
    pub month: i8,
}

impl Month {
    /// The month of a second since 1970. Seconds outside of the years 0 to 9999, which have no name, go to the first
    /// or the last month, so that months are ordered like their plays.
    pub fn of(uts: i64) -> Self {
        let moment = Timestamp::from_second(uts.max(YEAR_0)).unwrap_or(Timestamp::MAX);
        let date = Offset::UTC.to_datetime(moment);
        Self {
            year: date.year(),
            month: date.month(),
        }
    }

    /// Months since year 0, for counting them.
    pub(crate) fn number(self) -> i64 {
        i64::from(self.year) * 12 + i64::from(self.month) - 1
    }

    /// The month of that number; the first or the last one for a number outside of the years 0 to 9999.
    pub(crate) fn from_number(number: i64) -> Self {
        let number = number.clamp(0, 9_999 * 12 + 11);
        Self {
            year: i16::try_from(number / 12).unwrap_or_default(),
            month: i8::try_from(number % 12 + 1).unwrap_or(1),
        }
    }

    /// Its first second, in seconds since 1970.
    pub(crate) fn first_second(self) -> i64 {
        let day = jiff::civil::Date::new(self.year, self.month, 1).unwrap_or_default();
        Offset::UTC
            .to_timestamp(day.to_datetime(jiff::civil::Time::midnight()))
            .map_or(YEAR_0, Timestamp::as_second)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year, self.month)
    }
}

/// Files of a user that are filled one after the other: `part-0`, `part-1`, and so on.
///
/// The order of the first two is that of the plays, by month as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// The plays of a month, in their order.
    Part(Month),
    /// Plays of a month that reached Last.fm late, in the order in which they were found.
    Late(Month),
    /// Plays that Last.fm no longer has, and those that came back.
    Removed,
    /// Plays that were not seen at one look. Bookkeeping: only a second look makes them removed ones.
    Missing,
}

impl Series {
    /// The folder below the user's own, and what the files are called; nothing for what lies below `removed/`.
    fn of_plays(self) -> Option<(Month, &'static str)> {
        match self {
            Self::Part(month) => Some((month, PART)),
            Self::Late(month) => Some((month, LATE)),
            Self::Removed | Self::Missing => None,
        }
    }

    /// The month of play (UTC), if the files hold plays.
    pub fn month(self) -> Option<Month> {
        self.of_plays().map(|(month, _)| month)
    }
}

const PART: &str = "part";
const LATE: &str = "late";
const MISSING: &str = "missing";

/// One file of a user: `user=rj/year=2024/month=05/part-0.ndjson`. Hive-style, so that `DuckDB`, Spark and
/// Fabric prune by user, year and month.
///
/// The order is that of the plays: by series, then by part, both as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataName {
    /// Whose plays.
    pub user: UserName,
    /// What is in it.
    pub series: Series,
    /// Parts of a series are filled one after the other.
    pub part: u32,
}

impl DataName {
    /// What the names of all files with plays of a user start with.
    pub fn prefix(user: &UserName) -> String {
        format!("user={user}/")
    }

    /// What the names of all files about removed plays of a user start with.
    pub fn removed_prefix(user: &UserName) -> String {
        format!("removed/user={user}/")
    }

    /// The folder of all files about removed plays, of all users.
    pub(super) fn removed_folder() -> &'static str {
        "removed"
    }

    /// Reads a name below one of the user's prefixes; nothing for everything that is no file of this program.
    pub fn parse(user: &UserName, path: &str) -> Option<Self> {
        let (series, part) = match path.strip_prefix(&Self::removed_prefix(user)) {
            Some(file) => {
                let (kind, part) = numbered(file)?;
                let series = match kind {
                    PART => Series::Removed,
                    MISSING => Series::Missing,
                    _ => return None,
                };
                (series, part)
            }
            None => of_plays(path.strip_prefix(&Self::prefix(user))?)?,
        };
        let name = Self {
            user: user.clone(),
            series,
            part,
        };
        // Only names that this program would write: `part-007` is somebody else's file.
        (name.to_string() == path).then_some(name)
    }
}

/// Reads `year=2024/month=05/part-0.ndjson`.
fn of_plays(path: &str) -> Option<(Series, u32)> {
    let mut segments = path.split('/');
    let year = segments
        .next()?
        .strip_prefix("year=")
        .filter(|year| year.len() == 4)?
        .parse()
        .ok()?;
    let month = segments.next()?.strip_prefix("month=")?.parse().ok()?;
    if !(1..=12).contains(&month) {
        return None;
    }
    let month = Month { year, month };
    let (kind, part) = numbered(segments.next()?)?;
    let series = match kind {
        PART => Series::Part(month),
        LATE => Series::Late(month),
        _ => return None,
    };
    segments.next().is_none().then_some((series, part))
}

/// Reads `part-0.ndjson`.
fn numbered(file: &str) -> Option<(&str, u32)> {
    let (kind, number) = file.strip_suffix(".ndjson")?.rsplit_once('-')?;
    Some((kind, number.parse().ok()?))
}

impl fmt::Display for DataName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, series, part } = self;
        let Some((Month { year, month }, kind)) = series.of_plays() else {
            let kind = if *series == Series::Missing {
                MISSING
            } else {
                PART
            };
            return write!(formatter, "removed/user={user}/{kind}-{part}.ndjson");
        };
        write!(
            formatter,
            "user={user}/year={year:04}/month={month:02}/{kind}-{part}.ndjson"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rj() -> UserName {
        UserName::new("RJ").unwrap()
    }

    #[test]
    fn a_name_reads_back() {
        let name = DataName {
            user: rj(),
            series: Series::Part(Month::of(1_714_521_600)),
            part: 12,
        };
        assert_eq!(
            name.to_string(),
            "user=rj/year=2024/month=05/part-12.ndjson"
        );
        for (series, path) in [
            (name.series, "user=rj/year=2024/month=05/part-12.ndjson"),
            (
                Series::Late(Month::of(1_714_521_600)),
                "user=rj/year=2024/month=05/late-12.ndjson",
            ),
            (Series::Removed, "removed/user=rj/part-12.ndjson"),
            (Series::Missing, "removed/user=rj/missing-12.ndjson"),
        ] {
            let name = DataName {
                series,
                ..name.clone()
            };
            assert_eq!(name.to_string(), path);
            assert_eq!(DataName::parse(&rj(), path), Some(name));
        }
        assert_eq!(Month::of(0).to_string(), "1970-01");
    }

    #[test]
    fn a_play_outside_of_the_calendar_goes_to_its_first_or_last_month() {
        assert_eq!(Month::of(YEAR_0).to_string(), "0000-01");
        for before in [YEAR_0 - 1, -400_000_000_000, i64::MIN] {
            assert_eq!(Month::of(before).to_string(), "0000-01", "{before}");
        }
        assert_eq!(Month::of(i64::MAX).to_string(), "9999-12");
    }

    #[test]
    fn months_are_numbered() {
        for uts in [YEAR_0, -1, 0, 1_714_521_600, 253_402_207_200] {
            let month = Month::of(uts);
            assert_eq!(Month::from_number(month.number()), month);
            assert_eq!(Month::of(month.first_second()), month);
            assert!(month.first_second() <= uts);
            let next = Month::from_number(month.number() + 1);
            assert!(next > month || month.to_string() == "9999-12");
        }
        assert_eq!(Month::of(1_714_521_600).first_second(), 1_714_521_600);
        assert_eq!(Month::from_number(i64::MAX).to_string(), "9999-12");
    }

    #[test]
    fn everything_else_is_no_data_file() {
        for path in [
            "user=rj/year=2024/month=05/early-0.ndjson",
            "user=rj/year=2024/month=05/missing-0.ndjson",
            "removed/user=rj/late-0.ndjson",
            "removed/user=rj/part-01.ndjson",
            "removed/user=rjx/part-0.ndjson",
            "removed/user=rj/x/part-0.ndjson",
            "user=rj/year=2024/month=05/part-0.ndjson.tmp",
            "user=rj/year=2024/month=05/part-.ndjson",
            "user=rj/year=2024/month=05/part-00.ndjson",
            "user=rj/year=2024/month=5/part-0.ndjson",
            "user=rj/year=2024/month=05/x/part-0.ndjson",
            "user=rj/year=20240/month=05/part-0.ndjson",
            "user=rj/year=2024/month=13/part-0.ndjson",
            "user=rjx/year=2024/month=05/part-0.ndjson",
        ] {
            assert_eq!(DataName::parse(&rj(), path), None, "{path}");
        }
    }

    #[test]
    fn parts_are_ordered_as_numbers() {
        let name = |month, part| DataName {
            user: rj(),
            series: Series::Part(Month { year: 2024, month }),
            part,
        };
        assert!(name(5, 9) < name(5, 10) && name(5, 10) < name(6, 0));
    }
}
