//! What one user has played, in the order in which Last.fm lists it.

use std::fmt;
use std::ops::Range;

use crate::play::Play;
use crate::random::Random;
use crate::render::{self, Style};

/// The plays of one user, kept in order of time. Indexes count from the oldest play.
///
/// Plays of the same second keep a fixed order until it is changed by [`rotate_second`](Self::rotate_second) or
/// [`shuffle_second`](Self::shuffle_second); a play that is added to a second becomes the newest in it.
#[derive(Clone, Default)]
pub struct History {
    /// Oldest first, so that the usual change, a new play, is a push.
    rows: Vec<Row>,
}

/// A play and its JSON, which is written when it is first asked for.
#[derive(Clone)]
struct Row {
    play: Play,
    json: Option<(Style, Box<[u8]>)>,
}

impl From<Play> for Row {
    fn from(play: Play) -> Self {
        Self { play, json: None }
    }
}

impl History {
    /// An empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many plays there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was played yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The play at this index, counted from the oldest.
    pub fn get(&self, index: usize) -> Option<&Play> {
        self.rows.get(index).map(|row| &row.play)
    }

    /// All plays, oldest first; `.rev()` is the order in which Last.fm lists them.
    pub fn plays(&self) -> impl DoubleEndedIterator<Item = &Play> + ExactSizeIterator {
        self.rows.iter().map(|row| &row.play)
    }

    /// The plays with `from <= uts < to`, oldest first.
    pub fn between(
        &self,
        from: i64,
        to: i64,
    ) -> impl DoubleEndedIterator<Item = &Play> + ExactSizeIterator {
        self.rows[self.seconds(from..to)]
            .iter()
            .map(|row| &row.play)
    }

    /// Adds a play, anywhere in time.
    pub fn add(&mut self, play: Play) {
        let index = self.rows.partition_point(|row| row.play.uts <= play.uts);
        self.rows.insert(index, play.into());
    }

    /// Adds many plays at once; among equal seconds the later item is the newer one.
    pub fn add_all(&mut self, plays: impl IntoIterator<Item = Play>) {
        self.rows.extend(plays.into_iter().map(Row::from));
        self.sort();
    }

    /// Deletes the play at this index and returns it.
    pub fn delete(&mut self, index: usize) -> Option<Play> {
        (index < self.rows.len()).then(|| self.rows.remove(index).play)
    }

    /// Deletes all plays that match and says how many they were.
    pub fn delete_where(&mut self, mut matches: impl FnMut(&Play) -> bool) -> usize {
        let before = self.rows.len();
        self.rows.retain(|row| !matches(&row.play));
        before - self.rows.len()
    }

    /// Changes the play at this index, its time included; false when there is none.
    pub fn edit(&mut self, index: usize, change: impl FnOnce(&mut Play)) -> bool {
        let Some(row) = self.rows.get_mut(index) else {
            return false;
        };
        change(&mut row.play);
        row.json = None;
        self.sort();
        true
    }

    /// Changes all plays that match and says how many they were.
    pub fn edit_where(
        &mut self,
        mut matches: impl FnMut(&Play) -> bool,
        mut change: impl FnMut(&mut Play),
    ) -> usize {
        let mut changed = 0;
        for row in self.rows.iter_mut().filter(|row| matches(&row.play)) {
            change(&mut row.play);
            row.json = None;
            changed += 1;
        }
        self.sort();
        changed
    }

    /// Moves the newest play of a second behind the others of that second; says how many plays share it.
    pub fn rotate_second(&mut self, uts: i64) -> usize {
        let second = self.second(uts);
        if !second.is_empty() {
            self.rows[second.clone()].rotate_right(1);
        }
        second.len()
    }

    /// Puts the plays of a second into a random order; says how many plays share it.
    pub fn shuffle_second(&mut self, uts: i64, seed: u64) -> usize {
        let second = self.second(uts);
        Random::new(seed).shuffle(&mut self.rows[second.clone()]);
        second.len()
    }

    /// The indexes of the plays with `from <= uts < to`.
    pub(crate) fn seconds(&self, seconds: Range<i64>) -> Range<usize> {
        let start = self
            .rows
            .partition_point(|row| row.play.uts < seconds.start);
        let end = self.rows.partition_point(|row| row.play.uts < seconds.end);
        start..end.max(start)
    }

    /// Writes the rows at these indexes into a JSON list, in the given order.
    pub(crate) fn write_rows(&mut self, indexes: &[usize], style: Style, out: &mut Vec<u8>) {
        for (position, &index) in indexes.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            let row = &mut self.rows[index];
            let outdated = row.json.as_ref().is_none_or(|(used, _)| *used != style);
            if outdated {
                row.json = Some((style, render::row(&row.play, style, false).into()));
            }
            if let Some((_, json)) = &row.json {
                out.extend_from_slice(json);
            }
        }
    }

    fn second(&self, uts: i64) -> Range<usize> {
        self.seconds(uts..uts.saturating_add(1))
    }

    /// The sort is stable: plays of one second keep their order.
    fn sort(&mut self) {
        self.rows.sort_by_key(|row| row.play.uts);
    }
}

impl fmt::Debug for History {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.plays()).finish()
    }
}

impl FromIterator<Play> for History {
    fn from_iter<I: IntoIterator<Item = Play>>(plays: I) -> Self {
        let mut history = Self::new();
        history.add_all(plays);
        history
    }
}

#[cfg(test)]
mod tests {
    use super::History;
    use crate::play::Play;

    fn history(plays: &[(i64, &str)]) -> History {
        plays
            .iter()
            .map(|&(uts, track)| Play::new(uts, "Artist", track))
            .collect()
    }

    #[track_caller]
    fn assert_tracks(history: &History, expected: &str) {
        let tracks: Vec<_> = history.plays().map(|play| play.track.as_str()).collect();
        assert_eq!(tracks.join(""), expected);
    }

    #[test]
    fn plays_are_kept_in_order_of_time_and_a_tie_keeps_the_order_of_arrival() {
        let mut history = history(&[(30, "d"), (10, "a"), (20, "b")]);
        history.add(Play::new(20, "Artist", "c"));
        history.add(Play::new(40, "Artist", "e"));
        assert_tracks(&history, "abcde");
    }

    #[test]
    fn an_edited_time_moves_the_play() {
        let mut history = history(&[(10, "a"), (20, "b"), (30, "c")]);
        assert!(history.edit(0, |play| play.uts = 25));
        assert_tracks(&history, "bac");
    }

    #[test]
    fn deletions_take_only_what_matches() {
        let mut history = history(&[(10, "a"), (20, "b"), (30, "c")]);
        assert_eq!(history.delete_where(|play| play.uts == 20), 1);
        assert_eq!(history.delete(0).unwrap().track, "a");
        assert!(history.delete(7).is_none());
        assert_tracks(&history, "c");
    }

    #[test]
    fn only_the_named_second_is_reordered() {
        let mut history = history(&[(10, "a"), (20, "b"), (20, "c"), (20, "d"), (30, "e")]);
        assert_eq!(history.rotate_second(20), 3);
        assert_tracks(&history, "adbce");
        assert_eq!(history.shuffle_second(99, 1), 0);
        assert_tracks(&history, "adbce");
    }

    #[test]
    fn a_window_that_ends_before_it_starts_is_empty() {
        assert_eq!(history(&[(10, "a")]).between(20, 5).len(), 0);
    }
}
