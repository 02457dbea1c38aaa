//! What a person sees of a long `sync`: a bar for each user on a terminal, plain lines otherwise.

use crate::fetch_pages::Counts;
use crate::logging;
use crate::user::UserName;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How `sync` talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// Bars.
    Bars,
    /// A line for each work item.
    Lines,
    /// Errors only.
    Quiet,
}

impl Talk {
    pub(super) fn choose(quiet: bool) -> Self {
        match quiet {
            true => Self::Quiet,
            false if std::io::stderr().is_terminal() => Self::Bars,
            false => Self::Lines,
        }
    }

    pub(super) fn say(self, line: &str) {
        if self != Self::Quiet {
            logging::say(line);
        }
    }
}

/// One user's progress.
pub(super) struct Progress {
    talk: Talk,
    user: UserName,
    bar: ProgressBar,
    started: Instant,
    /// Plays archived by the items that are done.
    archived: u64,
    pages: u32,
}

impl Progress {
    pub(super) fn new(talk: Talk, user: &UserName) -> Self {
        let bar = match talk {
            Talk::Bars => logging::bars().add(ProgressBar::new(0)),
            Talk::Lines | Talk::Quiet => ProgressBar::hidden(),
        };
        bar.set_style(style());
        bar.set_prefix(user.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            talk,
            user: user.clone(),
            bar,
            started: Instant::now(),
            archived: 0,
            pages: 0,
        }
    }

    /// Something has come in for the item under way.
    pub(super) fn watch(&self, counts: &Counts) {
        if let Some(left) = counts.plays_left {
            self.bar.set_length(self.archived + left);
        }
        self.bar.set_position(self.archived + counts.plays_fetched);
        self.bar
            .set_message(format!("{} pages", self.pages + counts.pages));
    }

    /// An item has ended, and there may be more.
    pub(super) fn item_done(&mut self, counts: &Counts, more: bool) {
        let left = counts.plays_left.unwrap_or(0).saturating_sub(counts.plays);
        self.archived += counts.plays;
        self.pages += counts.pages;
        self.bar.set_position(self.archived);
        if self.talk == Talk::Lines && more && counts.plays > 0 {
            let (archived, left) = (HumanCount(self.archived), HumanCount(left));
            logging::say(&format!(
                "{}: {archived} plays archived, about {left} to go",
                self.user
            ));
        }
    }

    /// The user is done, one way or another; `words` say which.
    pub(super) fn finish(self, words: &str) {
        self.bar.finish_and_clear();
        if self.talk != Talk::Quiet {
            let seconds = self.started.elapsed().as_secs_f64();
            logging::say(&format!(
                "{}: {words} ({} pages, {seconds:.1} s)",
                self.user, self.pages
            ));
        }
    }
}

fn style() -> ProgressStyle {
    let bar = "{prefix:>16} {bar:30} {human_pos}/{human_len} plays, {msg}, {rate}, {left} left";
    ProgressStyle::with_template(bar)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "rate",
            |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = write!(text, "{:.0} plays/s", state.per_sec());
            },
        )
        .with_key(
            "left",
            |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = write!(text, "{}", HumanDuration(state.eta()));
            },
        )
        .progress_chars("=> ")
}
