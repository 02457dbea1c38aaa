//! Prints figures beside their goals.

#![allow(dead_code, reason = "each benchmark has goals of some kinds")]

use std::io::{self, Write};

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Only for information.
    None,
    AtMost(f64),
    Below(f64),
    AtLeast(f64),
}

impl Goal {
    /// No goal in a short round.
    pub(crate) fn if_judged(self, judged: bool) -> Self {
        if judged { self } else { Self::None }
    }

    fn words(self) -> Option<(&'static str, f64)> {
        match self {
            Self::None => None,
            Self::AtMost(limit) => Some(("at most", limit)),
            Self::Below(limit) => Some(("below", limit)),
            Self::AtLeast(limit) => Some(("at least", limit)),
        }
    }

    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtMost(most) => figure <= most,
            Self::Below(limit) => figure < limit,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

/// One line: median and best of all figures. The median decides about the goal.
pub(crate) fn row(what: &str, unit: &str, mut figures: Vec<f64>, goal: Goal) {
    figures.sort_by(f64::total_cmp);
    let (Some(best), Some(median)) = (figures.first(), figures.get(figures.len() / 2)) else {
        return;
    };
    let best_in_words = match figures.len() {
        1 => String::new(),
        _ => format!("(best {})", shown(*best)),
    };
    let verdict = goal.words().map_or(String::new(), |(words, limit)| {
        let verdict = if goal.is_met(*median) {
            "met"
        } else {
            "MISSED"
        };
        let limit = format!("{limit} {unit}");
        format!("goal: {words} {}: {verdict}", limit.trim_end())
    });
    let line = format!(
        "  {what:<37} {:>8} {unit:<6} {best_in_words:<14} {verdict}",
        shown(*median)
    );
    say(line.trim_end());
}

/// Three digits that matter.
fn shown(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 || figure.fract() == 0.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure if figure >= 1.0 => format!("{figure:.2}"),
        figure => format!("{figure:.3}"),
    }
}

/// One line on stdout. A reader that went away is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
