//! "What Last.fm shows today", read from the archive, against what Last.fm has.

use crate::reading::{Archive, id};
use crate::truth::{Key, Truth};
use std::collections::BTreeSet;

/// What differs up to the archive's newest second; nothing at all of an archive without plays.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Last.fm has them, today's view lacks them: late plays, and removed ones that are there again.
    pub(crate) lacking: Vec<Key>,
    /// In today's view, and gone from Last.fm.
    pub(crate) gone: Vec<Key>,
}

impl Differences {
    pub(crate) fn between(truth: &Truth, archive: &Archive) -> Self {
        let Some(newest) = archive.newest else {
            return Self::default();
        };
        let mut differences = Self::default();
        for (key, ids) in &archive.ids {
            let live = (0..truth.count(key)).map(|number| id(truth.user, key, number));
            let live: Vec<String> = live.collect();
            for id in ids {
                let removed = archive.removed.get(id) == Some(&true);
                match (live.contains(id), removed) {
                    (true, true) => differences.lacking.push(key.clone()),
                    (false, false) => differences.gone.push(key.clone()),
                    _ => {}
                }
            }
        }
        for key in truth.counts.keys().filter(|key| key.0 <= newest) {
            let archived = archive.ids.get(key).map_or(0, BTreeSet::len);
            let unseen = truth.count(key).saturating_sub(archived);
            let unseen = std::iter::repeat_n(key.clone(), unseen);
            differences.lacking.extend(unseen);
        }
        differences
    }

    /// Those of them that are wrong when every day since `since` (the moment of the first run) had a reconcile and no other
    /// change, over a whole rotation of the older history and more.
    pub(crate) fn wrong(self, truth: &Truth, archive: &Archive, since: i64) -> Vec<String> {
        let user = truth.user;
        // A window with a play that cannot be fetched cannot be compared; windows are asked a second too wide.
        let newest = archive.newest.unwrap_or(i64::MIN);
        if truth.curse().is_some_and(|play| play.uts <= newest + 1) {
            return Vec::new();
        }
        // What was within fifteen days at the first two runs was looked at twice, play by play.
        let recent = since - 14 * 86_400;
        let mut wrong = Vec::new();
        let (lacking, old_lacking): (Vec<_>, Vec<_>) =
            self.lacking.into_iter().partition(|key| key.0 >= recent);
        let (gone, old_gone): (Vec<_>, Vec<_>) =
            self.gone.into_iter().partition(|key| key.0 >= recent);
        for key in &lacking {
            wrong.push(format!("{user}: today's view lacks {key:?}"));
        }
        for key in &gone {
            wrong.push(format!("{user}: today's view has {key:?}, which is gone"));
        }
        // The exception of the design: older ones that cancel in a count. Each stretch of the rotation cancels in itself,
        // and so do all of them together.
        if old_lacking.len() != old_gone.len() {
            wrong.push(format!(
                "{user}: of the older history, today's view lacks {old_lacking:?} and has {old_gone:?}, which are gone"
            ));
        }
        wrong
    }
}
