//! The work item survives the queue in every form, and whatever else is there is refused with a reason.

use crate::fetch_pages::{FetchPages, PAGE_SIZE_MAX, PAGES_MAX};
use crate::properties::{check, text};
use crate::queue::Message;
use crate::user::UserName;
use azure_core::base64;
use bytes::Bytes;
use proptest::option;
use proptest::prelude::*;

/// Seconds up to the point where they are taken for milliseconds.
const SECONDS_MAX: i64 = 99_999_999_999;

fn items() -> impl Strategy<Value = FetchPages> {
    let seconds = (
        option::of(i64::MIN..=SECONDS_MAX),
        option::of(0..=SECONDS_MAX),
    );
    let sizes = (
        option::of(1..=PAGES_MAX),
        option::of(any::<u64>()),
        option::of(1..=PAGE_SIZE_MAX),
    );
    let counts = (any::<u32>(), any::<u32>(), any::<bool>());
    ("[A-Za-z0-9_-]{1,64}", seconds, sizes, counts).prop_map(|(user, seconds, sizes, counts)| {
        FetchPages {
            user: UserName::new(&user).unwrap(),
            from: seconds.0,
            to: seconds.1,
            pages: sizes.0,
            total: sizes.1,
            page_size: sizes.2,
            attempt: counts.0,
            waits: counts.1,
            redelivered: counts.2,
        }
    })
}

#[test]
fn an_item_reads_back_plain_in_base64_and_with_white_space_around() {
    let blank = "[ \t\r\n]{0,3}";
    check((items(), blank, blank), |(item, before, after)| {
        let message = item.to_message();
        let plain = base64::decode(&message).unwrap();
        let plain = String::from_utf8(plain).unwrap();
        for text in [message, plain] {
            let text = format!("{before}{text}{after}");
            let read = FetchPages::parse(text.as_bytes());
            prop_assert_eq!(read, Ok(item.clone()));
        }
        Ok(())
    });
}

/// JSON that is nearly a work item, and bytes that are nothing.
fn bodies() -> impl Strategy<Value = Bytes> {
    let field = prop::sample::select(vec![
        "user",
        "from",
        "to",
        "pages",
        "total",
        "page_size",
        "attempt",
        "waits",
        "redelivered",
        "color",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        (-2..1_100_i64).prop_map(|number| number.to_string()),
        "(true|null|\\[1\\]|\\{\\}|\"rj\"|\"[a-z ]{0,70}\")",
        text().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"[aä€]{100,200}\"",
    ];
    let fields = prop::collection::vec((field, value), 0..4);
    let object = fields.prop_map(|fields| {
        let mut members = vec![r#""user":"rj""#.to_owned()];
        members.extend(
            fields
                .iter()
                .map(|(field, value)| format!("\"{field}\":{value}")),
        );
        format!("{{{}}}", members.join(","))
    });
    let bytes = prop_oneof![
        4 => object.prop_map(String::into_bytes),
        1 => text().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| base64::encode(bytes).into_bytes()),
    ];
    bytes.prop_map(Bytes::from)
}

#[test]
fn every_body_is_a_sound_item_or_refused_with_a_short_reason() {
    check(bodies(), |body| {
        for body in [body.to_vec(), base64::encode(&body).into_bytes()] {
            match FetchPages::parse(&body) {
                Ok(item) => {
                    prop_assert!(UserName::new(item.user.as_str()).is_ok());
                    prop_assert!(item.from.is_none_or(|from| from <= SECONDS_MAX));
                    prop_assert!(item.to.is_none_or(|to| (0..=SECONDS_MAX).contains(&to)));
                    prop_assert!(item.pages.is_none_or(|pages| (1..=100).contains(&pages)));
                    prop_assert!(
                        item.page_size
                            .is_none_or(|size| (1..=1_000).contains(&size))
                    );
                    let again = FetchPages::parse(item.to_message().as_bytes());
                    prop_assert_eq!(again, Ok(item));
                }
                Err(reason) => prop_assert!((1..=300).contains(&reason.len()), "{}", reason),
            }
        }
        Ok(())
    });
}
