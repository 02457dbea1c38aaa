//! What becomes of a work item, and what trouble means for it.

use super::message::FetchPages;
use super::pages::Halt;
use super::range::{Fetched, smaller};
use super::step::Step;
use crate::lastfm::Error;
use crate::scrobble::in_utc;
use std::time::Duration;

/// How long an item is put back because of trouble, by how often it was already. After the last one it ends,
/// because the next tick starts again from the tail.
pub(crate) const PUT_BACK: [Duration; 3] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
];

/// An item that had to wait for the budget this often is at least a day old (each wait is longer than 20 s),
/// and a tick has followed: it is dropped.
const WAITS_MAX: u32 = 24 * 60 * 60 / 20;

/// What becomes of a work item.
#[derive(Debug)]
pub enum Outcome {
    /// The archive holds the whole window.
    Done,
    /// Somebody else has brought the archive further: nothing was fetched, or what was fetched was not needed.
    Stale,
    /// A part has landed; this item does the rest. It is sent only now.
    Continue(FetchPages, Duration),
    /// Nothing has landed, for this reason; this copy tries again after the delay.
    PutBack(FetchPages, Duration, String),
    /// The attempts are used up. The next tick starts again from the tail.
    GaveUp(String),
    /// A person has to do something; the hint says what.
    Refused {
        /// What Last.fm said, or what cannot be done.
        reason: String,
        /// What to do about it.
        hint: Option<&'static str>,
        /// It concerns the key and so every user.
        for_everybody: bool,
    },
    /// The process ends.
    Interrupted,
}

impl Outcome {
    /// A part has landed; `halt` says why it was not all, `left` does the rest.
    pub(super) fn after_progress(left: FetchPages, halt: Option<Halt>, page_size: u32) -> Self {
        let Some(halt) = halt else {
            return Self::Continue(left, Duration::ZERO);
        };
        match halt {
            // After an endless second the next item starts there, and says so if it cannot be fetched.
            Halt::Deadline | Halt::Interrupted | Halt::EndlessSecond(_) => {
                Self::Continue(left, Duration::ZERO)
            }
            Halt::Busy(busy) => Self::Continue(left, busy.wait),
            Halt::Shrink(_) if smaller(page_size).is_some() => Self::Continue(
                FetchPages {
                    page_size: smaller(page_size),
                    ..left
                },
                Duration::ZERO,
            ),
            // Sometimes false, and surely here, where pages of that user came a moment ago.
            Halt::Permanent(Error::UserNotFound(_)) | Halt::Restless => {
                Self::Continue(left, PUT_BACK[0])
            }
            Halt::Transient(error) | Halt::Shrink(error) => {
                tracing::warn!(user = %left.user, %error, "a part was archived, then no page came");
                Self::Continue(left, PUT_BACK[0])
            }
            Halt::Storage(error) => {
                let error = format!("{error:#}");
                tracing::warn!(user = %left.user, error, "a part was archived, then the budget failed");
                Self::Continue(left, PUT_BACK[0])
            }
            Halt::Permanent(error) => refused(&error),
        }
    }
}

impl Step<'_> {
    /// Nothing has landed. That is in order only when Last.fm has nothing new, which [`Step::commit`] has seen.
    pub(super) fn without_progress(
        &self,
        fetched: Fetched,
        page_size: u32,
    ) -> anyhow::Result<Outcome> {
        let window = self.window_in_words();
        let Some(halt) = fetched.halt else {
            anyhow::bail!(
                "{window} were planned without an end: this is a mistake of this program"
            );
        };
        // The copy remembers what Last.fm said, so that its first request is the page that it needs.
        let copy = FetchPages {
            to: Some(self.window.to),
            total: fetched.total.or(self.item.total),
            redelivered: self.redelivered,
            ..self.item.clone()
        };
        let known = self.window.newest.is_some() || fetched.total.is_some();
        Ok(match halt {
            Halt::Busy(busy) => wait_for_budget(copy, busy.wait),
            Halt::Interrupted => Outcome::Interrupted,
            Halt::Storage(error) => return Err(error),
            // Sometimes false for a user who exists; one whose plays have come before does.
            Halt::Permanent(Error::UserNotFound(reason)) if known => put_back(
                copy,
                format!("Last.fm denies that `{}` exists: {reason}", self.user.name),
            ),
            Halt::Permanent(error) => refused(&error),
            Halt::EndlessSecond(second) if page_size < self.environment.settings.page_size => {
                put_back(
                    copy,
                    format!("second {second} does not come whole in pages of {page_size}"),
                )
            }
            Halt::EndlessSecond(second) => Outcome::Refused {
                reason: format!("second {second} holds more plays than can be fetched together"),
                hint: Some(
                    "raise `LASTFM_PAGE_SIZE` (at most 1000) or `PAGES_PER_ITEM` (at most 100)",
                ),
                for_everybody: false,
            },
            Halt::Shrink(error) => put_back(
                copy,
                format!("{window} cannot be fetched in pages of {page_size} or larger: {error}"),
            ),
            Halt::Transient(error) => {
                put_back(copy, format!("{window} cannot be fetched: {error}"))
            }
            Halt::Restless => put_back(
                copy,
                format!("{window} change faster than they can be fetched"),
            ),
            Halt::Deadline => put_back(copy, format!("{window} did not come in time")),
        })
    }

    fn window_in_words(&self) -> String {
        let from = self
            .window
            .newest
            .map(|newest| format!(" after {} UTC", in_utc(newest)));
        let to = in_utc(self.window.to);
        format!(
            "the plays of `{}`{} up to {to} UTC",
            self.user.name,
            from.unwrap_or_default()
        )
    }
}

fn wait_for_budget(copy: FetchPages, wait: Duration) -> Outcome {
    let reason = "the request budget is used up".to_owned();
    if copy.waits >= WAITS_MAX {
        return Outcome::GaveUp(format!("{reason} since a day"));
    }
    Outcome::PutBack(
        FetchPages {
            waits: copy.waits + 1,
            ..copy
        },
        wait,
        reason,
    )
}

fn put_back(copy: FetchPages, reason: String) -> Outcome {
    let attempts = usize::try_from(copy.attempt).unwrap_or(usize::MAX);
    match PUT_BACK.get(attempts) {
        Some(delay) => Outcome::PutBack(
            FetchPages {
                attempt: copy.attempt + 1,
                ..copy
            },
            *delay,
            reason,
        ),
        None => Outcome::GaveUp(reason),
    }
}

fn refused(error: &Error) -> Outcome {
    let for_everybody = matches!(error, Error::KeyRejected { .. });
    Outcome::Refused {
        reason: error.to_string(),
        hint: error.hint(),
        for_everybody,
    }
}
