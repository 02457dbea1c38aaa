//! The table of `status`: one row for each user, and lines below it for what is worth a word. Pure.

use super::reader::Standing;
use crate::scrobble::in_utc;
use crate::status::{Document, LastError, LastReconcile, Moment};
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use std::time::Duration;

/// Letters of a full bar.
const BAR_WIDTH: u64 = 30;

/// What the lines below a row begin with.
const INDENT: &str = "  ";

/// The names of the columns.
pub(super) fn head() -> String {
    row(&[
        "USER",
        "NEWEST PLAY (UTC)",
        "PLAYS",
        "LATE",
        "SIZE",
        "FILES",
        "LAST SUCCESS",
    ])
}

/// Everything about one user.
pub(super) fn rows(standing: &Standing, stale: bool, now: i64) -> Vec<String> {
    let newest = standing.newest.map_or("nothing yet".to_owned(), in_utc);
    let success = standing.last_success();
    let success = success.map_or("never".to_owned(), |success| ago(success, now));
    let success = if stale {
        format!("{success}, STALE")
    } else if standing.document.is_none() && standing.newest.is_none() {
        "nothing yet".to_owned()
    } else {
        success
    };
    let mut rows = vec![row(&[
        standing.user.as_str(),
        &newest,
        &HumanCount(standing.rows).to_string(),
        &HumanCount(standing.late).to_string(),
        &HumanBytes(standing.bytes).to_string(),
        &standing.files.to_string(),
        &success,
    ])];
    if let Some(document) = &standing.document {
        rows.extend(progress(document, standing.rows, now));
        rows.extend(
            document
                .last_error
                .iter()
                .flat_map(|error| trouble(error, now)),
        );
        rows.extend(
            document
                .last_reconcile
                .iter()
                .map(|last| reconcile(last, now)),
        );
    }
    rows
}

/// How much of the history is there, and how long the rest takes.
fn progress(document: &Document, rows: u64, now: i64) -> Option<String> {
    let left = document.plays_left.filter(|left| *left > 0)?;
    let all = rows.saturating_add(left);
    let done = part(BAR_WIDTH, rows, all);
    let bar = "#".repeat(usize::try_from(done).unwrap_or(0));
    let rest = ".".repeat(usize::try_from(BAR_WIDTH - done).unwrap_or(0));
    let (percent, left) = (part(100, rows, all), HumanCount(left));
    let time = document.estimated_done.filter(|done| done.0 > now);
    let time = time.map_or(String::new(), |done| {
        format!(", about {} left", in_words(done.0 - now))
    });
    Some(format!(
        "{INDENT}[{bar}{rest}] {percent} %, {left} plays to go{time}"
    ))
}

/// So much of `whole` as `some` is of `all`.
fn part(whole: u64, some: u64, all: u64) -> u64 {
    let part = u128::from(whole) * u128::from(some) / u128::from(all.max(1));
    u64::try_from(part).unwrap_or(whole)
}

fn trouble(error: &LastError, now: i64) -> Vec<String> {
    let mut lines = vec![format!(
        "{INDENT}last error, {}: {}",
        ago(error.at, now),
        error.reason.replace('\n', " ")
    )];
    lines.extend(
        error
            .hint
            .iter()
            .map(|hint| format!("{INDENT}hint: {hint}")),
    );
    lines
}

fn reconcile(last: &LastReconcile, now: i64) -> String {
    let LastReconcile {
        late,
        removed,
        returned,
        missing,
        ..
    } = last;
    format!(
        "{INDENT}last reconcile, {}: {}; late {late}, removed {removed}, returned {returned}, missing {missing}",
        ago(last.at, now),
        last.result.replace('\n', " ")
    )
}

fn ago(moment: Moment, now: i64) -> String {
    format!("{} ago", in_words(now - moment.0))
}

fn in_words(seconds: i64) -> String {
    let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    HumanDuration(duration).to_string()
}

fn row(cells: &[&str; 7]) -> String {
    let [user, newest, plays, late, size, files, success] = cells;
    format!("{user:<16}  {newest:<20}  {plays:>10}  {late:>6}  {size:>10}  {files:>5}  {success}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::UserName;

    const NOW: i64 = 1_800_000_000;

    fn standing() -> Standing {
        Standing {
            user: UserName::new("rj").unwrap(),
            newest: Some(NOW - 60),
            rows: 12_345,
            late: 3,
            bytes: 6 << 20,
            files: 14,
            ingested: Some(Moment(NOW - 7_200)),
            document: None,
            trouble: None,
        }
    }

    #[track_caller]
    fn check(standing: &Standing, stale: bool, expected: &[&str]) {
        let mut lines = vec![head()];
        lines.extend(rows(standing, stale, NOW));
        assert_eq!(lines, expected);
    }

    const HEAD: &str = "USER              NEWEST PLAY (UTC)          PLAYS    LATE        SIZE  FILES  LAST SUCCESS";

    #[test]
    fn a_row_without_a_document() {
        let row = "rj                2027-01-15 07:59:00       12,345       3    6.00 MiB     14  2 hours ago";
        check(&standing(), false, &[HEAD, row]);
        check(&standing(), true, &[HEAD, &format!("{row}, STALE")]);
    }

    #[test]
    fn a_row_of_somebody_who_has_nothing() {
        let nothing = Standing {
            newest: None,
            rows: 0,
            late: 0,
            bytes: 0,
            files: 0,
            ingested: None,
            ..standing()
        };
        let row = "rj                nothing yet                    0       0         0 B      0  ";
        check(&nothing, false, &[HEAD, &format!("{row}nothing yet")]);
        let waiting = Standing {
            document: Some(Document::default()),
            ..nothing
        };
        check(&waiting, false, &[HEAD, &format!("{row}never")]);
        check(&waiting, true, &[HEAD, &format!("{row}never, STALE")]);
    }

    #[test]
    fn everything_worth_a_word_stands_below_the_row() {
        let document = Document {
            last_success: Some(Moment(NOW - 30)),
            plays_left: Some(12_345),
            estimated_done: Some(Moment(NOW + 750)),
            last_error: Some(LastError {
                at: Moment(NOW - 7_200),
                reason: "no\npage".to_owned(),
                hint: Some("look".to_owned()),
            }),
            last_reconcile: Some(LastReconcile {
                at: Moment(NOW - 86_400),
                run: "a".to_owned(),
                result: "done".to_owned(),
                late: 1,
                removed: 2,
                returned: 3,
                missing: 4,
            }),
            ..Document::default()
        };
        let full = Standing {
            document: Some(document),
            ..standing()
        };
        let expected = [
            HEAD,
            "rj                2027-01-15 07:59:00       12,345       3    6.00 MiB     14  30 seconds ago",
            "  [###############...............] 50 %, 12,345 plays to go, about 13 minutes left",
            "  last error, 2 hours ago: no page",
            "  hint: look",
            "  last reconcile, 24 hours ago: done; late 1, removed 2, returned 3, missing 4",
        ];
        check(&full, false, &expected);
    }
}
