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
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year, self.month)
    }
}

/// One data file of a user: `user=rj/year=2024/month=05/part-0.ndjson`. Hive-style, so that `DuckDB`, Spark and
/// Fabric prune by user, year and month.
///
/// The order is that of the plays: by month, then by part, both as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataName {
    /// Whose plays.
    pub user: UserName,
    /// When they were played.
    pub month: Month,
    /// Parts of a month are filled one after the other.
    pub part: u32,
}

impl DataName {
    /// What all names of a user start with.
    pub fn prefix(user: &UserName) -> String {
        format!("user={user}/")
    }

    /// Reads a name below the user's prefix; nothing for everything that is no data file.
    pub fn parse(user: &UserName, path: &str) -> Option<Self> {
        let rest = path.strip_prefix(&Self::prefix(user))?;
        let mut segments = rest.split('/');
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
        let part = segments
            .next()?
            .strip_prefix("part-")?
            .strip_suffix(".ndjson")?
            .parse()
            .ok()?;
        let name = Self {
            user: user.clone(),
            month: Month { year, month },
            part,
        };
        // Only names that this program would write: `part-007` is somebody else's file.
        (segments.next().is_none() && name.to_string() == path).then_some(name)
    }
}

impl fmt::Display for DataName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Month { year, month } = self.month;
        write!(
            formatter,
            "user={}/year={year:04}/month={month:02}/part-{}.ndjson",
            self.user, self.part
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
            month: Month::of(1_714_521_600),
            part: 12,
        };
        assert_eq!(
            name.to_string(),
            "user=rj/year=2024/month=05/part-12.ndjson"
        );
        assert_eq!(DataName::parse(&rj(), &name.to_string()), Some(name));
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
    fn everything_else_is_no_data_file() {
        for path in [
            "user=rj/year=2024/month=05/late-0.ndjson",
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
            month: Month { year: 2024, month },
            part,
        };
        assert!(name(5, 9) < name(5, 10) && name(5, 10) < name(6, 0));
    }
}
