//! The two ways in which Last.fm writes a time. No clock here: seconds come in, text goes out.

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const SECONDS_PER_DAY: i64 = 86_400;

/// `16 Mar 2016, 22:52`: the `#text` of a play's date, in UTC.
pub(crate) fn play_date(uts: i64) -> String {
    let (year, month, day) = civil(uts.div_euclid(SECONDS_PER_DAY));
    let second = uts.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{day:02} {month} {year:04}, {hour:02}:{minute:02}")
}

/// `Wed, 16 Mar 2016 22:52:19 GMT`: the `Date` header.
pub(crate) fn http_date(uts: i64) -> String {
    let days = uts.div_euclid(SECONDS_PER_DAY);
    let (year, month, day) = civil(days);
    // The epoch was a Thursday. The remainder is 0..7, so the conversion cannot fail.
    let weekday = DAYS[usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0)];
    let second = uts.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month name and day of a day number, after Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, &'static str, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    (year, MONTHS[usize::try_from(month).unwrap_or(0)], day)
}

#[cfg(test)]
mod tests {
    use super::{http_date, play_date};

    #[test]
    fn dates_are_written_as_last_fm_writes_them() {
        assert_eq!(play_date(1_458_168_739), "16 Mar 2016, 22:52");
        assert_eq!(play_date(0), "01 Jan 1970, 00:00");
        assert_eq!(play_date(-1), "31 Dec 1969, 23:59");
        assert_eq!(play_date(951_782_400), "29 Feb 2000, 00:00");
    }

    #[test]
    fn http_dates_carry_the_weekday() {
        assert_eq!(http_date(1_458_168_739), "Wed, 16 Mar 2016 22:52:19 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
