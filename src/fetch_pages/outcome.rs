//! What becomes of a work item, and what trouble means for it.

use super::message::FetchPages;
use super::pages::Stop;
use super::step::{Step, smaller};
use crate::lastfm::Error;
use crate::scrobble::in_utc;
use std::time::Duration;

/// How long an item is put back because of trouble, by how often it was already. After the last one it ends,
/// because the next tick starts again from the tail.
const PUT_BACK: [Duration; 3] = [
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
    /// A part has landed; `stop` says why it was not all, `left` does the rest.
    pub(super) fn after_progress(left: FetchPages, stop: Option<Stop>, page_size: u32) -> Self {
        if let (Some(Stop::Shrink(_)), Some(size)) = (&stop, smaller(page_size)) {
            let left = FetchPages {
                page_size: Some(size),
                ..left
            };
            return Self::Continue(left, Duration::ZERO);
        }
        match stop {
            Some(Stop::Permanent(error)) => refused(&error),
            Some(Stop::EndlessSecond(second)) => endless(second),
            Some(Stop::Busy(busy)) => Self::Continue(left, busy.wait),
            Some(Stop::Transient(_) | Stop::Shrink(_) | Stop::Storage(_) | Stop::Restless) => {
                Self::Continue(left, PUT_BACK[0])
            }
            Some(Stop::Deadline | Stop::Interrupted | Stop::Moved(_)) | None => {
                Self::Continue(left, Duration::ZERO)
            }
        }
    }
}

impl Step<'_> {
    /// Nothing has landed. That is in order only when Last.fm has nothing new, which [`Step::commit`] has seen.
    pub(super) fn without_progress(
        &self,
        stop: Option<Stop>,
        page_size: u32,
    ) -> anyhow::Result<Outcome> {
        let window = self.window_in_words();
        Ok(match stop {
            Some(Stop::Busy(busy)) => self.wait_for_budget(busy.wait),
            Some(Stop::Interrupted) => Outcome::Interrupted,
            Some(Stop::Storage(error)) => return Err(error),
            Some(Stop::EndlessSecond(second)) => endless(second),
            // Sometimes false for a user who exists; one whose history is already here does.
            Some(Stop::Permanent(Error::UserNotFound(reason)))
                if self.window.newest.is_some() && self.item.attempt < 3 =>
            {
                self.put_back(format!(
                    "Last.fm denies that `{}` exists: {reason}",
                    self.user.name
                ))
            }
            Some(Stop::Permanent(error)) => refused(&error),
            Some(Stop::Shrink(error)) => self.put_back(format!(
                "{window} cannot be fetched in pages of {page_size} or larger: {error}"
            )),
            Some(Stop::Transient(error)) => {
                self.put_back(format!("{window} cannot be fetched: {error}"))
            }
            Some(Stop::Restless | Stop::Moved(_)) => {
                self.put_back(format!("{window} change faster than they can be fetched"))
            }
            Some(Stop::Deadline) => self.put_back(format!("{window} did not come in time")),
            None => anyhow::bail!(
                "{window} were planned without an end: this is a mistake of this program"
            ),
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

    fn wait_for_budget(&self, wait: Duration) -> Outcome {
        let reason = "the request budget is used up".to_owned();
        if self.item.waits >= WAITS_MAX {
            return Outcome::GaveUp(format!("{reason} since a day"));
        }
        let copy = FetchPages {
            waits: self.item.waits + 1,
            ..self.copy()
        };
        Outcome::PutBack(copy, wait, reason)
    }

    fn put_back(&self, reason: String) -> Outcome {
        let attempts = usize::try_from(self.item.attempt).unwrap_or(usize::MAX);
        match PUT_BACK.get(attempts) {
            Some(delay) => {
                let copy = FetchPages {
                    attempt: self.item.attempt + 1,
                    ..self.copy()
                };
                Outcome::PutBack(copy, *delay, reason)
            }
            None => Outcome::GaveUp(reason),
        }
    }

    /// The same item, with its window frozen and its history remembered.
    fn copy(&self) -> FetchPages {
        FetchPages {
            to: Some(self.window.to),
            redelivered: self.redelivered,
            ..self.item.clone()
        }
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

fn endless(second: i64) -> Outcome {
    Outcome::Refused {
        reason: format!("second {second} holds more plays than can be fetched together"),
        hint: Some("raise `LASTFM_PAGE_SIZE` (at most 1000) or `PAGES_PER_ITEM` (at most 100)"),
        for_everybody: false,
    }
}
