//! The queue service.

use super::calls::{make_queue, send};
use super::sides::Case;

const WEEK_S: i64 = 7 * 24 * 60 * 60;
/// `{"user":"rj"}`.
const ITEM: &str = "eyJ1c2VyIjoicmoifQ==";

#[tokio::test]
async fn a_queue_may_be_made_again() {
    let mut case = Case::new();
    case.ask(make_queue(), "201").await;
    case.ask(make_queue(), "204").await;
}

#[tokio::test]
async fn without_a_queue_no_message_is_taken() {
    let mut case = Case::new();
    case.ask(send(ITEM, None), "404 QueueNotFound").await;
    case.ask(send(ITEM, Some(60)), "404 QueueNotFound").await;
}

#[tokio::test]
async fn a_message_is_seen_after_its_delay() {
    let mut case = Case::new();
    case.ask(make_queue(), "201").await;
    for delay_s in [None, Some(0), Some(1), Some(900), Some(86_400)] {
        let seen = delay_s.unwrap_or(0);
        let answer = format!("201 seen after {seen} s, kept {WEEK_S} s");
        case.ask(send(ITEM, delay_s), &answer).await;
    }
    // Azure: less than a week, for the message is kept no longer.
    case.ask(
        send(ITEM, Some(WEEK_S + 1)),
        "400 OutOfRangeQueryParameterValue",
    )
    .await;
}

#[tokio::test]
async fn a_message_has_at_most_64_kib_on_the_wire() {
    let mut case = Case::new();
    case.ask(make_queue(), "201").await;
    let answer = format!("201 seen after 0 s, kept {WEEK_S} s");
    case.ask(send(&"A".repeat(65_536), None), &answer).await;
    case.ask(send(&"A".repeat(65_540), None), "413 RequestBodyTooLarge")
        .await;
}
