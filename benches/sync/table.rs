//! Prints figures beside their goals.

use std::io::{self, Write};

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    words: &'static str,
    most: Option<f64>,
    /// Whether the figure itself would be too much.
    below: bool,
}

impl Goal {
    /// Only for information.
    pub(crate) fn none() -> Self {
        Self {
            words: "",
            most: None,
            below: false,
        }
    }

    /// This much or less; not `judged` in a short round.
    pub(crate) fn at_most(most: f64, judged: bool) -> Self {
        Self {
            words: "at most",
            most: judged.then_some(most),
            below: false,
        }
    }

    /// Less than this.
    pub(crate) fn below(most: f64, judged: bool) -> Self {
        Self {
            words: "below",
            below: true,
            ..Self::at_most(most, judged)
        }
    }

    fn is_met(self, figure: f64) -> Option<bool> {
        let most = self.most?;
        Some(figure < most || (figure <= most && !self.below))
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
    let verdict = match (goal.is_met(*median), goal.most) {
        (Some(met), Some(most)) => {
            let verdict = if met { "met" } else { "MISSED" };
            format!("goal: {} {most} {unit}: {verdict}", goal.words)
        }
        _ => String::new(),
    };
    let line = format!(
        "  {what:<36} {:>8} {unit:<6} {best_in_words:<14} {verdict}",
        shown(*median)
    );
    say(line.trim_end());
}

/// Three digits that matter.
fn shown(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure if figure >= 1.0 => format!("{figure:.2}"),
        figure => format!("{figure:.3}"),
    }
}

/// One line on stdout. A reader that went away is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
