//! Documents as a table: what was known, what happened, what is known then.

use super::*;

const NOON: i64 = 1_800_000_000;

/// An item that archived so many plays of 100 bytes between two moments, on top of so many.
fn item(began: i64, at: i64, held: u64, plays: u64, end: End) -> Item {
    Item {
        began: Moment(began),
        at: Moment(at),
        held: Some(Held {
            bytes: held * 100,
            newest: (held > 0).then_some(7),
            counted: Counted::No,
        }),
        plays,
        bytes: plays * 100,
        newest: (plays > 0).then_some(9),
        left: None,
        end,
    }
}

fn trouble(reason: &str) -> End {
    End::Trouble {
        reason: reason.to_owned(),
        hint: Some("look".to_owned()),
    }
}

fn after(document: Document, item: Item) -> Document {
    document.apply("rj", &Event::Item(item))
}

fn up_to_date() -> Document {
    after(
        Document::default(),
        item(NOON, NOON + 5, 0, 40, End::UpToDate),
    )
}

#[test]
fn the_first_item_begins_the_document() {
    let document = up_to_date();
    let expected = Document {
        user: "rj".to_owned(),
        since: Some(Moment(NOON + 5)),
        last_success: Some(Moment(NOON + 5)),
        newest_uts: Some(9),
        newest: Some(Moment(9)),
        plays_archived: Some(40),
        archive_bytes: Some(4_000),
        ..Document::default()
    };
    assert_eq!(document, expected);
}

#[test]
fn an_item_that_finds_nothing_new_is_a_success() {
    let document = after(
        up_to_date(),
        item(NOON + 60, NOON + 61, 40, 0, End::UpToDate),
    );
    assert_eq!(document.since, Some(Moment(NOON + 5)));
    assert_eq!(document.last_success, Some(Moment(NOON + 61)));
    assert_eq!(document.newest_uts, Some(7));
    assert_eq!(document.plays_archived, Some(40));
}

#[test]
fn a_backfill_is_estimated_from_what_it_has_done_so_far() {
    let more = |began, at, held, plays, left| Item {
        left: Some(left),
        ..item(began, at, held, plays, End::MoreToCome)
    };
    let document = after(Document::default(), more(NOON, NOON + 10, 0, 100, 900));
    assert_eq!(document.plays_left, Some(900));
    assert_eq!(document.estimated_done, Some(Moment(NOON + 100)));
    assert_eq!(document.last_success, Some(Moment(NOON + 10)));
    // The waits between items count: 200 plays in 50 s.
    let document = after(document, more(NOON + 40, NOON + 50, 100, 100, 800));
    assert_eq!(document.estimated_done, Some(Moment(NOON + 250)));
    assert_eq!(document.plays_archived, Some(200));
    let document = after(
        document,
        item(NOON + 60, NOON + 70, 200, 800, End::UpToDate),
    );
    let left = (
        document.plays_left,
        document.estimated_done,
        document.backfill,
    );
    assert_eq!(left, (None, None, None));
    assert_eq!(document.plays_archived, Some(1_000));
}

#[test]
fn trouble_is_kept_until_a_success() {
    let mut failing = item(NOON + 60, NOON + 61, 40, 0, trouble("no"));
    failing.left = Some(12);
    let document = after(up_to_date(), failing);
    let error = document.last_error.clone().unwrap();
    assert_eq!((error.at, error.reason.as_str()), (Moment(NOON + 61), "no"));
    assert_eq!(error.hint.as_deref(), Some("look"));
    assert_eq!(document.last_success, Some(Moment(NOON + 5)));
    assert_eq!(document.plays_left, Some(12));
    let waiting = item(NOON + 70, NOON + 71, 40, 0, End::Waiting);
    let document = after(document, waiting);
    assert_eq!(document.last_error.as_ref(), Some(&error));
    assert_eq!(document.last_success, Some(Moment(NOON + 5)));
    let document = after(document, item(NOON + 80, NOON + 81, 40, 1, End::MoreToCome));
    assert_eq!(document.last_error, None);
}

#[test]
fn trouble_before_the_archive_is_read_leaves_the_rest_as_it_was() {
    let mut failing = item(NOON + 60, NOON + 61, 0, 0, trouble("storage is away"));
    failing.held = None;
    let before = up_to_date();
    let document = after(before.clone(), failing);
    let expected = Document {
        last_error: document.last_error.clone(),
        backfill: document.backfill.clone(),
        ..before
    };
    assert_eq!(document, expected);
}

#[test]
fn plays_of_somebody_else_are_counted_and_not_guessed() {
    let other = item(NOON + 60, NOON + 61, 55, 5, End::UpToDate);
    let document = after(up_to_date(), other.clone());
    assert_eq!(
        (document.plays_archived, document.archive_bytes),
        (None, None)
    );
    assert!(!document.describes(6_000));
    let counted = |counted| Item {
        held: other.held.map(|held| Held { counted, ..held }),
        ..other.clone()
    };
    let document = after(up_to_date(), counted(Counted::Plays(50)));
    assert_eq!(document.plays_archived, Some(55));
    assert!(document.describes(6_000) && !document.describes(6_001));
    // Too many once is too many for the next item as well.
    let document = after(up_to_date(), counted(Counted::TooMany));
    assert!(document.describes(6_000));
    let document = after(document, item(NOON + 70, NOON + 71, 60, 1, End::UpToDate));
    assert_eq!(document.plays_archived, None);
    assert_eq!(document.archive_bytes, Some(6_100));
}

#[test]
fn an_item_that_ends_late_does_not_turn_the_success_back() {
    let late = item(NOON, NOON + 1, 40, 0, End::UpToDate);
    assert_eq!(
        after(up_to_date(), late).last_success,
        Some(Moment(NOON + 5))
    );
}

#[test]
fn the_steps_of_a_reconcile_add_up() {
    let step = |at: i64, run: &str, late, missing| {
        Event::Reconcile(LastReconcile {
            at: Moment(at),
            run: run.to_owned(),
            result: "done".to_owned(),
            late,
            removed: 1,
            returned: 0,
            missing,
        })
    };
    let document = up_to_date()
        .apply("rj", &step(NOON + 10, "a", 2, 1))
        .apply("rj", &step(NOON + 20, "a", 0, 4));
    let sum = document.last_reconcile.clone().unwrap();
    assert_eq!((sum.late, sum.removed, sum.missing), (2, 2, 5));
    assert_eq!(sum.at, Moment(NOON + 20));
    let next = document.clone().apply("rj", &step(NOON + 30, "b", 0, 0));
    assert_eq!(next.last_reconcile.unwrap().missing, 0);
    assert_eq!(next.last_success, document.last_success);
}

#[test]
fn a_document_reads_back() {
    let failing = item(NOON + 60, NOON + 61, 40, 0, trouble("no"));
    let document = after(up_to_date(), failing);
    let text = serde_json::to_string(&document).unwrap();
    assert!(
        text.contains(r#""last_success":"2027-01-15T08:00:05Z""#),
        "{text}"
    );
    assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    // One of an older program, and one of a newer.
    let text = r#"{"user":"rj","last_success":"2027-01-15T08:00:05Z","weather":"fine"}"#;
    let document: Document = serde_json::from_str(text).unwrap();
    assert_eq!(document.last_success, Some(Moment(NOON + 5)));
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let failing = item(NOON, NOON + 1, 40, 0, trouble(&"é".repeat(2_000)));
    let reason = after(Document::default(), failing)
        .last_error
        .unwrap()
        .reason;
    assert_eq!(reason.len(), REASON_BYTES_MAX);
}
