//! The one line that each invocation leaves in the log, with fields that can be queried. docs/operate.md lists them.

use super::invocation::Caller;
use crate::fetch_pages::{Counts, Report};
use crate::user::UserName;
use std::sync::OnceLock;
use std::time::Instant;

/// One invocation as the log knows it. Shared with the task that does the work, so that even after a panic the line
/// says what was done until then.
pub(super) struct Milestone {
    pub(super) function: &'static str,
    pub(super) caller: Caller,
    /// Known once the envelope is read; a timer has none.
    pub(super) dequeue_count: OnceLock<u64>,
    /// Known once the message is read; a timer has none.
    pub(super) user: OnceLock<UserName>,
    pub(super) report: Report<'static>,
    started: Instant,
}

impl Milestone {
    /// An invocation that begins now.
    pub(super) fn new(function: &'static str, caller: Caller) -> Self {
        Self {
            function,
            caller,
            dequeue_count: OnceLock::new(),
            user: OnceLock::new(),
            report: Report::default(),
            started: Instant::now(),
        }
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.get().map(UserName::as_str)
    }

    /// What a work item has done so far; nothing where there is no work item.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.user.get().map(|_| self.report.counts())
    }

    pub(super) fn duration_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Writes the line: `milestone!(level, milestone, "message", field = value, …)`. A field without a value is left out.
macro_rules! milestone {
    ($level:ident, $milestone:expr, $message:literal $(, $field:ident = $value:expr)* $(,)?) => {{
        let milestone: &$crate::triggers::milestone::Milestone = $milestone;
        let counts = milestone.counts();
        let counts = counts.as_ref();
        tracing::$level!(
            function = milestone.function,
            user = milestone.user(),
            pages = counts.map(|counts| counts.pages),
            plays = counts.map(|counts| counts.plays),
            requests = counts.map(|counts| counts.requests),
            retries = counts.map($crate::fetch_pages::Counts::retries_in_words),
            append_bytes = counts.map(|counts| counts.append_bytes),
            duration_ms = milestone.duration_ms(),
            dequeue_count = milestone.dequeue_count.get(),
            invocation_id = milestone.caller.invocation_id.as_deref(),
            trace_id = milestone.caller.trace_id,
            $($field = $value,)*
            $message
        )
    }};
}
pub(super) use milestone;
