//! Watches what is written down beside the sync: late plays, and what became of archived ones. It knows what Last.fm had
//! at any moment.

use crate::blobs::{Blobs, Call};
use crate::parts::{is_part, second};
use crate::truth::{Key, Truth};
use crate::witness::Hand;
use serde_json::Value;
use std::collections::BTreeMap;

/// Longer than an invocation lives, and a late arrival of its last block takes: what it writes was so at some moment of
/// that time.
const LOOK_MS: i64 = 200_000;

/// A block that has landed.
pub(crate) struct Block<'a> {
    /// The blob.
    pub(crate) name: &'a str,
    /// All that is in it.
    pub(crate) bytes: &'a [u8],
    /// Where the block begins.
    pub(crate) start: usize,
}

impl<'a> Block<'a> {
    /// The block that this call has appended, if it was to an archive.
    pub(crate) fn of(call: &'a Call, blobs: &'a Blobs) -> Option<Self> {
        let (_, name) = call.path.split_once("/scrobbles/")?;
        let bytes = &blobs.containers["scrobbles"][name].bytes;
        Some(Self {
            name,
            bytes,
            start: bytes.len() - call.body.len(),
        })
    }

    /// Whose plays it is about.
    fn user(&self) -> &'a str {
        let (_, rest) = self.name.split_once("user=").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.bytes[self.start..].split(|byte| *byte == b'\n');
        lines.filter(|line| !line.is_empty())
    }
}

/// What is known of a play that was looked for.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// It was not seen by this run.
    Missing(String),
    Seen,
}

/// What is written of one play.
#[derive(Default)]
struct Log {
    /// From which moment on it is known to be so.
    known: Vec<(i64, Known)>,
    removed: bool,
}

/// What was seen of one schedule.
#[derive(Default)]
pub(crate) struct Looks {
    /// The newest archived second of each user.
    newest: BTreeMap<String, i64>,
    /// By user and id.
    logs: BTreeMap<(String, String), Log>,
    /// Plays taken late; plays removed; plays returned.
    pub(crate) written: [usize; 3],
    pub(crate) wrong: Vec<String>,
}

impl Looks {
    /// A block has landed. `hand`: in whose name, unless it arrived when that was over.
    pub(crate) fn appended(
        &mut self,
        block: &Block<'_>,
        hand: Option<Hand>,
        truths: &[Truth],
        now_ms: i64,
    ) {
        let user = block.user();
        let truth = truths
            .iter()
            .find(|truth| truth.user.to_lowercase() == user);
        let Some(truth) = truth else {
            return self.wrong.push(format!("`{}` is nobody's", block.name));
        };
        if is_part(block.name) {
            self.at_the_end(block, hand.as_ref());
            return;
        }
        for line in block.lines() {
            let json: Value = serde_json::from_slice(line).unwrap_or_default();
            // What is no line at all is found at the end.
            let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
            let uts = json["uts"].as_i64().unwrap_or(i64::MIN);
            let key: Key = (uts, text("artist"), text("track"));
            let id = text("id");
            let event = text("event");
            let what = format!("`{}`: {event} {id} {key:?}", block.name);
            // As many equal plays as its ordinal calls for.
            let numbers = 1..=truth.most(&key);
            let Some(number) = numbers
                .into_iter()
                .find(|number| crate::reading::id(truth.user, &key, number - 1) == id)
            else {
                self.wrong.push(format!("{what} never was"));
                continue;
            };
            let (had, lacked) = truth.since(&key, number, now_ms - LOOK_MS);
            let is_true = match event.as_str() {
                "missing" | "removed" => lacked,
                _ => had,
            };
            if !is_true {
                self.wrong.push(format!("{what} was not so at {now_ms}"));
            }
            if block.name.contains("/late-") {
                self.written[0] += 1;
                if self.newest.get(user).is_none_or(|newest| uts >= *newest) {
                    let newest = self.newest.get(user);
                    self.wrong.push(format!("{what} is not below {newest:?}"));
                }
                continue;
            }
            let log = self.logs.entry((user.to_owned(), id)).or_default();
            if let Some(wrong) = log.add(&event, &text("run"), hand.as_ref(), now_ms) {
                self.wrong.push(format!("{what} {wrong}"));
            }
            self.written[1] += usize::from(event == "removed");
            self.written[2] += usize::from(event == "returned");
        }
    }

    /// Behind the newest archived second only the sync writes; at it, both do.
    fn at_the_end(&mut self, block: &Block<'_>, hand: Option<&Hand>) {
        let user = block.user();
        let newest = self.newest.get(user).copied();
        let seconds: Vec<i64> = block.lines().filter_map(second).collect();
        let other = seconds.iter().find(|uts| Some(**uts) != newest);
        if let Some(other) = other.filter(|_| hand.is_some_and(|hand| hand.reconciles)) {
            let name = block.name;
            self.wrong.push(format!(
                "`{name}`: {other} by a reconcile, behind {newest:?}"
            ));
        }
        if let Some(last) = seconds.last() {
            self.newest.insert(user.to_owned(), *last);
        }
    }
}

impl Log {
    /// Another line; what is wrong with it.
    fn add(
        &mut self,
        event: &str,
        run: &str,
        hand: Option<&Hand>,
        now_ms: i64,
    ) -> Option<&'static str> {
        // All that whoever writes may have read: how it stood at the beginning, and what was told since then.
        let begun_ms = hand.map_or(now_ms - LOOK_MS, |hand| hand.begun_ms);
        let first = self.known.partition_point(|(ms, _)| *ms <= begun_ms);
        let read: Vec<Known> = self.known[first.saturating_sub(1)..]
            .iter()
            .map(|(_, known)| known.clone())
            .collect();
        let is_missing = |known: &Known| matches!(known, Known::Missing(..));
        // One look does not make a removal: another run has to miss it too, and nobody may have seen it in between.
        let by_another = |known: &Known| match (known, hand) {
            (Known::Missing(run), Some(hand)) => *run != hand.run,
            (known, _) => is_missing(known),
        };
        match event {
            "missing" => {
                self.known.push((now_ms, Known::Missing(run.to_owned())));
                let wrong = hand.is_some_and(|hand| hand.run != run);
                wrong.then_some("bears the mark of another run")
            }
            "found" => {
                self.known.push((now_ms, Known::Seen));
                (!read.iter().any(is_missing)).then_some("was not missed")
            }
            "removed" => {
                let twice = std::mem::replace(&mut self.removed, true);
                let wrong = twice.then_some("for the second time");
                wrong.or_else(|| (!read.iter().any(by_another)).then_some("after one look"))
            }
            "returned" => {
                self.known.push((now_ms, Known::Seen));
                let was = std::mem::replace(&mut self.removed, false);
                (!was).then_some("was not removed")
            }
            _ => Some("is no event"),
        }
    }
}
