//! What one look at Last.fm says against the archive. Pure: values in, values out.

use super::held::HeldPlay;
use super::ledger::Ledger;
use crate::scrobble::{Play, PlayId};
use std::collections::HashMap;

/// What differs, play by play. A play is its id: user, second, artist, track, and the ordinal among equal ones.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Last.fm shows them, the archive lacks them; oldest first.
    pub(crate) lacking: Vec<(Play, PlayId)>,
    /// The archive has them, Last.fm does not show them.
    pub(crate) vanished: Vec<HeldPlay>,
    /// Removed once, and shown again.
    pub(crate) returned: Vec<HeldPlay>,
    /// Not seen at an earlier look, and seen at this one.
    pub(crate) seen_again: Vec<HeldPlay>,
}

impl Differences {
    /// Compares all plays that Last.fm shows in some seconds with all that the archive holds there.
    pub(super) fn between(
        shown: impl Iterator<Item = (Play, PlayId)>,
        held: Vec<HeldPlay>,
        ledger: &Ledger,
    ) -> Self {
        let mut unseen: HashMap<PlayId, HeldPlay> =
            held.into_iter().map(|play| (play.id, play)).collect();
        let mut differences = Self::default();
        for (play, id) in shown {
            let Some(held) = unseen.remove(&id) else {
                differences.lacking.push((play, id));
                continue;
            };
            if ledger.suspicion(id).is_some() {
                differences.seen_again.push(held.clone());
            }
            if ledger.is_removed(id) {
                differences.returned.push(held);
            }
        }
        differences.vanished = unseen
            .into_values()
            .filter(|play| !ledger.is_removed(play.id))
            .collect();
        differences.vanished.sort_by_key(|play| (play.uts, play.id));
        differences
    }

    /// Whether there is nothing to write down.
    pub(crate) fn is_nothing(&self) -> bool {
        self.lacking.is_empty()
            && self.vanished.is_empty()
            && self.returned.is_empty()
            && self.seen_again.is_empty()
    }

    /// By how much Last.fm's count of these seconds exceeds the archive's, removed plays not counted.
    pub(crate) fn balance(&self) -> i64 {
        let number = |plays: usize| i64::try_from(plays).unwrap_or(i64::MAX);
        number(self.lacking.len() + self.returned.len()) - number(self.vanished.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Event;
    use super::*;
    use crate::scrobble::Words;
    use crate::user::UserName;

    fn play(uts: i64, track: &str) -> (Play, PlayId) {
        let words = Words {
            artist: "a",
            track,
            ..Words::default()
        };
        let play = Play::new(uts, &words).unwrap();
        let id = PlayId::new("rj", &play, 0);
        (play, id)
    }

    fn plays(text: &str) -> Vec<(Play, PlayId)> {
        text.split_whitespace()
            .map(|play_at| {
                let (track, uts) = play_at.split_at(1);
                play(uts.parse().unwrap(), track)
            })
            .collect()
    }

    fn held(text: &str) -> Vec<HeldPlay> {
        let held = plays(text).into_iter();
        held.map(|(play, id)| HeldPlay::new(play.uts, id, "a", play.words().track))
            .collect()
    }

    #[track_caller]
    fn check(shown: &str, archived: &str, ledger: &Ledger, expect: [&str; 4]) {
        let differences = Differences::between(plays(shown).into_iter(), held(archived), ledger);
        let names = |plays: &[HeldPlay]| {
            let names: Vec<String> = plays
                .iter()
                .map(|play| format!("{}{}", play.track, play.uts))
                .collect();
            names.join(" ")
        };
        let lacking: Vec<HeldPlay> = differences
            .lacking
            .iter()
            .map(|(play, id)| HeldPlay::new(play.uts, *id, "a", play.words().track))
            .collect();
        assert_eq!(
            [
                names(&lacking),
                names(&differences.vanished),
                names(&differences.returned),
                names(&differences.seen_again)
            ],
            expect
        );
    }

    #[test]
    fn each_play_is_compared_by_its_id() {
        let none = Ledger::empty(&UserName::new("rj").unwrap());
        check("a1 b2", "a1 b2", &none, ["", "", "", ""]);
        check("a1 b2 c3", "a1 c3", &none, ["b2", "", "", ""]);
        check("a1", "a1 b2", &none, ["", "b2", "", ""]);
        // An edit: as many as before.
        check("a1 x2", "a1 b2", &none, ["x2", "b2", "", ""]);
    }

    #[test]
    fn what_is_known_to_be_removed_is_no_difference_until_it_returns() {
        let [(_, b2)] = &plays("b2")[..] else {
            panic!()
        };
        let mut ledger = Ledger::empty(&UserName::new("rj").unwrap());
        ledger.learn((*b2, 2), Event::Missing, "one");
        check("a1", "a1 b2", &ledger, ["", "b2", "", ""]);
        check("a1 b2", "a1 b2", &ledger, ["", "", "", "b2"]);
        ledger.learn((*b2, 2), Event::Removed, "");
        check("a1", "a1 b2", &ledger, ["", "", "", ""]);
        check("a1 b2", "a1 b2", &ledger, ["", "", "b2", "b2"]);
    }
}
