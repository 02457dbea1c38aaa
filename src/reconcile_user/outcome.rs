//! What becomes of a reconcile, and what trouble means for it.

use super::Stopped;
use super::message::{ReconcileUser, Step};
use crate::fetch_pages::{Halt, PUT_BACK};
use crate::lastfm::Error;
use std::time::Duration;

/// Who lets new plays go first comes back no sooner than this, give or take.
const GIVING_WAY: Duration = Duration::from_secs(30);

/// A run that could not end by then is given up: the next one has begun.
const AGE_MAX_S: i64 = 24 * 60 * 60;

/// What becomes of a reconcile.
#[derive(Debug)]
pub enum Outcome {
    /// All of it was compared.
    Done,
    /// A part was compared; this message does the rest.
    Continue(ReconcileUser),
    /// This copy goes on after the delay, for this reason.
    PutBack(ReconcileUser, Duration, String),
    /// It took too long or was tried too often. The next run starts again.
    GaveUp(String),
    /// A person has to do something; the hint says what.
    Refused {
        /// What Last.fm said.
        reason: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// The process ends.
    Interrupted,
}

/// The message of what is left, as it becomes less.
pub(super) struct Progress {
    pub(super) message: ReconcileUser,
    has_moved: bool,
}

impl Progress {
    pub(super) fn new(message: ReconcileUser) -> Self {
        Self {
            message,
            has_moved: false,
        }
    }

    /// Everything of this step before the second `from` is compared.
    pub(super) fn moved_to(&mut self, from: i64) {
        self.has_moved |= self.message.from.is_none_or(|before| before < from);
        self.message.from = Some(from);
    }

    /// The recent days are compared.
    pub(super) fn next_step(&mut self) {
        self.message.step = Step::Older;
        self.message.from = None;
        self.has_moved = true;
    }

    /// What to do after a stop at `now`.
    pub(super) fn stopped(&self, stopped: Stopped, now: i64) -> anyhow::Result<Outcome> {
        let left = ReconcileUser {
            // What comes further is no longer the same attempt.
            attempt: if self.has_moved {
                0
            } else {
                self.message.attempt
            },
            ..self.message.clone()
        };
        let halt = match stopped {
            Stopped::Halted(halt) => halt,
            Stopped::Stale => {
                let reason = "somebody else writes about this user".to_owned();
                return Ok(put_back(left, reason, now));
            }
        };
        Ok(match halt {
            Halt::Busy(busy) => {
                let spread = GIVING_WAY.mul_f64(0.5 + fastrand::f64());
                let reason = "new plays go first".to_owned();
                wait(left, busy.wait.max(spread), reason, now)
            }
            Halt::Deadline | Halt::Interrupted if self.has_moved => Outcome::Continue(left),
            Halt::Interrupted => Outcome::Interrupted,
            Halt::Deadline => put_back(left, "it did not come in time".to_owned(), now),
            Halt::Storage(error) => return Err(error),
            // Sometimes false, and surely here, where plays of that user are archived.
            Halt::Permanent(error @ Error::UserNotFound(_)) => {
                put_back(left, error.to_string(), now)
            }
            Halt::Permanent(error) => Outcome::Refused {
                reason: error.to_string(),
                hint: error.hint(),
            },
            Halt::Restless => put_back(
                left,
                "the history changes faster than it can be compared".to_owned(),
                now,
            ),
            Halt::EndlessSecond(second) => put_back(
                left,
                format!("second {second} holds more plays than can be fetched together"),
                now,
            ),
            Halt::Transient(error) | Halt::Shrink(error) => put_back(left, error.to_string(), now),
        })
    }
}

/// The sync has just written: that goes first, and tomorrow is early enough.
pub(crate) fn put_back_for_quiet(message: ReconcileUser, quiet_in: Duration, now: i64) -> Outcome {
    let reason = "the archive has changed a moment ago".to_owned();
    wait(message, quiet_in, reason, now)
}

fn wait(left: ReconcileUser, delay: Duration, reason: String, now: i64) -> Outcome {
    if is_too_old(&left, now) {
        return Outcome::GaveUp(reason);
    }
    let waits = left.waits.saturating_add(1);
    Outcome::PutBack(ReconcileUser { waits, ..left }, delay, reason)
}

fn put_back(left: ReconcileUser, reason: String, now: i64) -> Outcome {
    let attempts = usize::try_from(left.attempt).unwrap_or(usize::MAX);
    match PUT_BACK.get(attempts) {
        Some(delay) if !is_too_old(&left, now) => {
            let attempt = left.attempt + 1;
            Outcome::PutBack(ReconcileUser { attempt, ..left }, *delay, reason)
        }
        _ => Outcome::GaveUp(reason),
    }
}

fn is_too_old(message: &ReconcileUser, now: i64) -> bool {
    message.to.is_some_and(|to| to < now - AGE_MAX_S)
}
