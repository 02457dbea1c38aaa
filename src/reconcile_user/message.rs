//! The message of `reconcile_user`: what stands on its queue, and nothing else.

use crate::fetch_pages::PAGE_SIZE_MAX;
use crate::queue::{self, Message};
use crate::user::UserName;
use serde::{Deserialize, Serialize};

/// The longest mark of a run, in bytes.
const RUN_LENGTH_MAX: usize = 100;

/// "Compare the archive of this user with Last.fm."
///
/// People and the timer name the user (and `to` and `run`) only; the rest is filled in by continuations and copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileUser {
    /// Whose history.
    pub user: UserName,
    /// The moment of the run, in whole seconds since 1970: the last 15 days end there, and its day chooses the older
    /// stretch. Absent: now, when the message is first taken.
    pub to: Option<i64>,
    /// The mark of the run. A play is removed only when it was missing in two runs. Absent: the message's own id.
    pub run: Option<String>,
    /// How far the run is.
    pub step: Step,
    /// The first second of the step that was not compared yet.
    pub from: Option<i64>,
    /// Plays a page; absent: `LASTFM_PAGE_SIZE`.
    pub page_size: Option<u32>,
    /// How often this was put back because of trouble.
    pub attempt: u32,
    /// How often this was put back to let new plays go first.
    pub waits: u32,
}

/// The steps of a run, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The last 15 days, play by play.
    #[default]
    Recent,
    /// One stretch of what is older, by count.
    Older,
}

impl ReconcileUser {
    /// What the timer sends.
    pub fn of(user: UserName, to: Option<i64>, run: Option<String>) -> Self {
        Self {
            user,
            to,
            run,
            step: Step::default(),
            from: None,
            page_size: None,
            attempt: 0,
            waits: 0,
        }
    }

    /// Whether this can be the mark of a run.
    pub fn is_mark(run: &str) -> bool {
        (1..=RUN_LENGTH_MAX).contains(&run.len()) && run.is_ascii()
    }

    /// Reads a message as any tool may have written it: plain JSON, or base64 of it. The error is the reason
    /// that the poison queue gets.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let wire: Wire = queue::read(body, "reconcile")?;
        queue::check_second("from", wire.from)?;
        queue::check_second("to", wire.to)?;
        if wire.to.is_some_and(|second| second < 0) {
            return Err("`to` lies before 1970".to_owned());
        }
        if wire.run.as_deref().is_some_and(|run| !Self::is_mark(run)) {
            return Err(format!(
                "`run` must have 1 to {RUN_LENGTH_MAX} ASCII characters"
            ));
        }
        Ok(Self {
            user: UserName::new(&wire.user).map_err(|reason| format!("`user`: {reason}"))?,
            to: wire.to,
            run: wire.run,
            step: wire.step.unwrap_or_default(),
            from: wire.from,
            page_size: queue::check_range("page_size", wire.page_size, PAGE_SIZE_MAX)?,
            attempt: wire.attempt.unwrap_or(0),
            waits: wire.waits.unwrap_or(0),
        })
    }
}

impl Message for ReconcileUser {
    const NAME: &'static str = "a reconcile";

    fn user(&self) -> &UserName {
        &self.user
    }

    fn to_message(&self) -> String {
        queue::text_of(&Wire {
            user: self.user.as_str().to_owned(),
            to: self.to,
            run: self.run.clone(),
            step: Some(self.step).filter(|step| *step != Step::default()),
            from: self.from,
            page_size: self.page_size,
            attempt: Some(self.attempt).filter(|attempt| *attempt > 0),
            waits: Some(self.waits).filter(|waits| *waits > 0),
        })
    }
}

/// The JSON object on the queue.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Step>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page_size: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waits: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, reason: &str) {
        let error = ReconcileUser::parse(body.as_bytes()).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }

    #[test]
    fn a_name_is_enough_plain_or_in_base64() {
        let message = ReconcileUser::of(UserName::new("rj").unwrap(), None, None);
        assert_eq!(
            ReconcileUser::parse(br#"{"user":"RJ"}"#),
            Ok(message.clone())
        );
        let text = message.to_message();
        assert_eq!(ReconcileUser::parse(text.as_bytes()), Ok(message));
    }

    #[test]
    fn a_continuation_survives_the_queue() {
        let message = ReconcileUser {
            to: Some(1_700_000_000),
            run: Some("m-1".to_owned()),
            step: Step::Older,
            from: Some(-5),
            page_size: Some(50),
            attempt: 2,
            waits: 7,
            ..ReconcileUser::of(UserName::new("rj").unwrap(), None, None)
        };
        let text = message.to_message();
        assert_eq!(ReconcileUser::parse(text.as_bytes()), Ok(message));
    }

    #[test]
    fn what_is_no_reconcile_is_refused_with_its_reason() {
        refused("hello", "a reconcile looks like {\"user\":\"rj\"}");
        refused("[1]", "not a JSON object");
        refused("{}", "missing field `user`");
        refused(r#"{"user":"../rj"}"#, "impossible user name");
        refused(r#"{"user":"rj","pages":3}"#, "unknown field `pages`");
        refused(r#"{"user":"rj","step":"newer"}"#, "unknown variant `newer`");
        refused(
            r#"{"user":"rj","page_size":0}"#,
            "`page_size` must be 1 to 1000",
        );
        refused(r#"{"user":"rj","to":1700000000000}"#, "milliseconds");
        refused(r#"{"user":"rj","to":-1}"#, "before 1970");
        refused(r#"{"user":"rj","run":""}"#, "`run` must have");
    }
}
