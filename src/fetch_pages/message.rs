//! The work item: what stands on the queue, and nothing else.

use crate::queue::{self, Message};
use crate::user::UserName;
use serde::{Deserialize, Serialize};

/// Most pages that one work item may fetch.
pub const PAGES_MAX: u32 = 100;
/// Most plays on a page that Last.fm answers.
pub const PAGE_SIZE_MAX: u32 = 1_000;

/// "Bring the archive of this user one page range further."
///
/// People and the timer name the user (and `to`) only; the rest is filled in by continuations and copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPages {
    /// Whose history.
    pub user: UserName,
    /// Where the archive stood when this item was planned. Only the mark for the stale check, never where
    /// fetching starts.
    pub from: Option<i64>,
    /// Last whole second of the frozen window; absent: now, when the item is first taken.
    pub to: Option<i64>,
    /// Most pages to fetch; absent: `PAGES_PER_ITEM`.
    pub pages: Option<u32>,
    /// How many plays are probably left in the window: a guess at which page to ask first.
    pub total: Option<u64>,
    /// Plays a page; absent: `LASTFM_PAGE_SIZE`.
    pub page_size: Option<u32>,
    /// How often this item was put back because of trouble.
    pub attempt: u32,
    /// How often this item was put back because the request budget was used up.
    pub waits: u32,
    /// The original was delivered more than once.
    pub redelivered: bool,
}

impl FetchPages {
    /// The item that the timer and people send.
    pub fn of(user: UserName, to: Option<i64>) -> Self {
        Self {
            user,
            from: None,
            to,
            pages: None,
            total: None,
            page_size: None,
            attempt: 0,
            waits: 0,
            redelivered: false,
        }
    }

    /// Reads a message as any tool may have written it: plain JSON, or base64 of it. The error is the reason
    /// that the poison queue gets.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let wire: Wire = queue::read(body, "work item")?;
        wire.check()
    }
}

impl Message for FetchPages {
    const NAME: &'static str = "a work item";

    fn user(&self) -> &UserName {
        &self.user
    }

    /// Base64 of JSON, which every tool and any `messageEncoding` carries.
    fn to_message(&self) -> String {
        let wire = Wire {
            user: self.user.as_str().to_owned(),
            from: self.from,
            to: self.to,
            pages: self.pages,
            total: self.total,
            page_size: self.page_size,
            attempt: Some(self.attempt).filter(|attempt| *attempt > 0),
            waits: Some(self.waits).filter(|waits| *waits > 0),
            redelivered: Some(self.redelivered).filter(|redelivered| *redelivered),
        };
        queue::text_of(&wire)
    }
}

/// The JSON object on the queue.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pages: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page_size: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redelivered: Option<bool>,
}

impl Wire {
    fn check(self) -> Result<FetchPages, String> {
        queue::check_second("from", self.from)?;
        queue::check_second("to", self.to)?;
        if self.to.is_some_and(|second| second < 0) {
            return Err("`to` lies before 1970".to_owned());
        }
        Ok(FetchPages {
            user: UserName::new(&self.user).map_err(|reason| format!("`user`: {reason}"))?,
            from: self.from,
            to: self.to,
            pages: queue::check_range("pages", self.pages, PAGES_MAX)?,
            total: self.total,
            page_size: queue::check_range("page_size", self.page_size, PAGE_SIZE_MAX)?,
            attempt: self.attempt.unwrap_or(0),
            waits: self.waits.unwrap_or(0),
            redelivered: self.redelivered.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &[u8], reason: &str) {
        let error = FetchPages::parse(body).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn a_name_is_enough_plain_or_in_base64() {
        let item = FetchPages::of(UserName::new("rj").unwrap(), None);
        assert_eq!(FetchPages::parse(br#"{"user":"RJ"}"#), Ok(item.clone()));
        assert_eq!(
            FetchPages::parse(b"eyJ1c2VyIjoicmoifQ==\n"),
            Ok(item.clone())
        );
        assert_eq!(FetchPages::parse(item.to_message().as_bytes()), Ok(item));
    }

    #[test]
    fn a_continuation_survives_the_queue() {
        let item = FetchPages {
            from: Some(0),
            to: Some(1_700_000_000),
            pages: Some(3),
            total: Some(12_345),
            page_size: Some(50),
            attempt: 2,
            waits: 7,
            redelivered: true,
            ..FetchPages::of(UserName::new("rj").unwrap(), None)
        };
        assert_eq!(FetchPages::parse(item.to_message().as_bytes()), Ok(item));
    }

    #[test]
    fn what_is_no_work_item_is_refused_with_its_reason() {
        refused(b"hello", "neither JSON nor base64 of JSON");
        refused(b"\xff\xfe", "not UTF-8");
        refused(b"[1]", "not a JSON object");
        refused(b"{}", "missing field `user`");
        refused(br#"{"user":"a b"}"#, "impossible user name");
        refused(br#"{"user":""}"#, "impossible user name");
        refused(br#"{"user":"rj","color":1}"#, "unknown field `color`");
        refused(br#"{"user":7}"#, "expected a string");
        refused(br#"{"user":"rj","pages":"3"}"#, "invalid type");
        refused(br#"{"user":"rj","pages":0}"#, "`pages` must be 1 to 100");
        refused(
            br#"{"user":"rj","page_size":1001}"#,
            "`page_size` must be 1 to 1000",
        );
        refused(br#"{"user":"rj","to":1700000000000}"#, "milliseconds");
        refused(br#"{"user":"rj","to":1.5}"#, "invalid type");
        refused(br#"{"user":"rj","to":-1}"#, "before 1970");
        refused(
            format!(r#"{{"user":"rj","pages":"{}"}}"#, "A".repeat(60_000)).as_bytes(),
            "invalid type",
        );
        refused(&vec![b'x'; 48 * 1024], "neither JSON nor base64 of JSON");
    }
}
