//! How far a verification is.

use crate::commands::progress::Talk;
use crate::logging;
use crate::user::UserName;
use crate::verify::Watcher;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use std::time::Duration;

/// What a person sees of a long verification.
pub(super) struct Bar {
    talk: Talk,
    user: UserName,
    shown: ProgressBar,
}

impl Bar {
    pub(super) fn new(talk: Talk, user: &UserName, deep: bool) -> Self {
        let bar = match talk {
            Talk::Bars => logging::bars().add(ProgressBar::new(0)),
            Talk::Lines | Talk::Quiet => ProgressBar::hidden(),
        };
        let unit = if deep { "plays" } else { "months" };
        let template =
            format!("{{prefix:>16}} {{bar:30}} {{human_pos}}/{{human_len}} {unit}, {{left}} left");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key(
                "left",
                |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                    let _ = write!(text, "{}", HumanDuration(state.eta()));
                },
            )
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(user.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            talk,
            user: user.clone(),
            shown: bar,
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.shown.finish_and_clear();
    }
}

impl Watcher for Bar {
    fn progress(&self, done: u64, all: u64) {
        self.shown.set_length(all);
        self.shown.set_position(done);
    }

    fn waiting(&self, wait: Duration, reason: &str) {
        let (user, seconds) = (&self.user, wait.as_secs_f64().ceil());
        let line = format!("{user}: {reason}: waiting for {seconds} s");
        self.talk.say(&line);
    }
}
