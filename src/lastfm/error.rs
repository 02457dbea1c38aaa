//! What can go wrong with Last.fm, named for what the caller does next.

use std::time::Duration;

/// An answer that is no page. No text in it ever holds the key: it is built from the service's own message
/// or from causes below the URL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Pause every instance: code 29, or HTTP 429.
    #[error("Last.fm limits the rate: {message}")]
    RateLimited {
        /// The service's own words.
        message: String,
        /// `Retry-After`, if one came; none is documented.
        retry_after: Option<Duration>,
    },
    /// Try again, and ask for smaller pages when it goes on: codes 8, 11, 16 and any 5xx.
    #[error("Last.fm fails for the moment: {0}")]
    Failing(String),
    /// Try again: no connection, no answer in time.
    #[error("Last.fm is not reachable: {0}")]
    Unreachable(String),
    /// Try again, and never take it for an empty history: HTML, a truncated or empty body, another user's
    /// data, a page with more or fewer rows than its own numbers call for.
    #[error("Last.fm's answer is not what was asked for: {0}")]
    Broken(String),
    /// Plan again from page 1: the page lies past the end (seen with other methods, unproven for this one).
    #[error("Last.fm has no such page: {0}")]
    NoSuchPage(String),
    /// Stop for this user. Sometimes false for a user who exists (pylast PR 297).
    #[error("Last.fm knows no user of that name: {0}")]
    UserNotFound(String),
    /// Stop for this user until they change their settings.
    #[error("the user hides recent listening: {0}")]
    Private(String),
    /// Stop for everybody and tell the operator: codes 4, 9, 10, 13, 14, 15 and 26.
    #[error("Last.fm rejects the key (code {code}): {message}")]
    KeyRejected {
        /// Last.fm's error code.
        code: i64,
        /// The service's own words.
        message: String,
    },
    /// Stop: any other code.
    #[error("Last.fm refuses the request (code {code}): {message}")]
    Refused {
        /// Last.fm's error code; 0 for a bare HTTP status.
        code: i64,
        /// The service's own words.
        message: String,
    },
}

impl Error {
    /// Sorts an error body by its code. The code wins over the HTTP status; codes and what was seen of them
    /// are listed at <https://www.last.fm/api/errorcodes>.
    pub(super) fn from_code(code: i64, message: String, retry_after: Option<Duration>) -> Self {
        let lower = message.to_ascii_lowercase();
        match code {
            29 => Self::RateLimited {
                message,
                retry_after,
            },
            8 | 11 | 16 => Self::Failing(format!("{message} (code {code})")),
            // Code 6 means both "invalid parameters" and "user not found": only the text tells.
            6 if lower.contains("page") => Self::NoSuchPage(message),
            6 if lower.contains("not found") || lower.contains("no user") => {
                Self::UserNotFound(message)
            }
            17 => Self::Private(message),
            4 | 9 | 10 | 13 | 14 | 15 | 26 => Self::KeyRejected { code, message },
            _ => Self::Refused { code, message },
        }
    }

    /// Sorts an answer without an error body by its HTTP status.
    pub(super) fn from_status(status: u16, retry_after: Option<Duration>) -> Self {
        let message = format!("HTTP status {status} without an error body");
        match status {
            429 => Self::RateLimited {
                message,
                retry_after,
            },
            500.. => Self::Failing(message),
            // HTML with 4xx comes from the front end and is no proof of a bad request.
            _ => Self::Broken(message),
        }
    }

    /// Whether the same request may succeed in a moment.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::Failing(_) | Self::Unreachable(_) | Self::Broken(_)
        )
    }

    /// The same error with every occurrence of `secret` taken out of its text.
    pub(super) fn without(mut self, secret: &str) -> Self {
        let (Self::RateLimited { message, .. }
        | Self::Failing(message)
        | Self::Unreachable(message)
        | Self::Broken(message)
        | Self::NoSuchPage(message)
        | Self::UserNotFound(message)
        | Self::Private(message)
        | Self::KeyRejected { message, .. }
        | Self::Refused { message, .. }) = &mut self;
        if message.contains(secret) {
            *message = message.replace(secret, "[key]");
        }
        self
    }

    /// The cause in two words, for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate limited",
            Self::Failing(_) => "failing",
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken answer",
            Self::NoSuchPage(_) => "no such page",
            Self::UserNotFound(_) => "user not found",
            Self::Private(_) => "private",
            Self::KeyRejected { .. } => "key rejected",
            Self::Refused { .. } => "refused",
        }
    }

    /// What a person can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UserNotFound(_) => Some("check the spelling in `LASTFM_USERS` or in the message"),
            Self::Private(_) => Some(
                "the user can unhide it: last.fm/settings/privacy, untick \"Hide recent listening\"",
            ),
            Self::KeyRejected { code: 26, .. } => {
                Some("the key is suspended: see last.fm/api/accounts before any further request")
            }
            Self::KeyRejected { .. } => Some("check `LASTFM_API_KEY` against last.fm/api/accounts"),
            _ => None,
        }
    }
}
