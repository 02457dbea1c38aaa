//! Watches the wire while the program runs: what must never happen, not even for a moment.

use crate::blobs::{Blobs, Call};
use std::collections::BTreeMap;

/// Everybody pauses at least this long after Last.fm has limited the rate.
const PAUSE_MS: i64 = 60_000;

/// A message in the hands of one process.
struct Delivery {
    worker: String,
    message: u64,
    /// Delivered for the first time although the archive had passed the place where it was planned: it may not cost
    /// a single request.
    stale: bool,
}

/// A time without requests.
struct Pause {
    from_ms: i64,
    until_ms: i64,
}

/// What was seen of one schedule.
#[derive(Default)]
pub(crate) struct Witness {
    deliveries: Vec<Delivery>,
    pauses: Vec<Pause>,
    /// When requests to Last.fm were started.
    asked_ms: Vec<i64>,
    /// Requests of deliveries that were not stale, and how many of these there were.
    pub(crate) useful_deliveries: usize,
    /// Messages on the queue at one time.
    pub(crate) longest_queue: usize,
    pub(crate) wrong: Vec<String>,
}

impl Witness {
    /// A process gets a message.
    pub(crate) fn delivered(
        &mut self,
        worker: &str,
        message: u64,
        dequeue_count: u64,
        item: Option<&serde_json::Value>,
        blobs: &Blobs,
    ) {
        let stale = item.is_some_and(|item| {
            let redelivered = dequeue_count > 1 || item["redelivered"] == true;
            let newest = item["user"].as_str().and_then(|user| newest(blobs, user));
            let passed = newest.zip(item["from"].as_i64());
            !redelivered && passed.is_some_and(|(newest, from)| from < newest)
        });
        self.useful_deliveries += usize::from(!stale);
        let worker = worker.to_owned();
        self.deliveries.push(Delivery {
            worker,
            message,
            stale,
        });
    }

    /// The process has answered, or died.
    pub(crate) fn finished(&mut self, worker: &str, message: u64) {
        let same = |delivery: &Delivery| delivery.worker == worker && delivery.message == message;
        if let Some(index) = self.deliveries.iter().position(same) {
            self.deliveries.remove(index);
        }
    }

    /// A process starts a request to Last.fm.
    pub(crate) fn asked(&mut self, worker: &str, now_ms: i64, latency_ms: i64) {
        self.asked_ms.push(now_ms);
        let in_hand = self
            .deliveries
            .iter()
            .filter(|delivery| delivery.worker == worker);
        let (stale, useful): (Vec<_>, Vec<_>) = in_hand.partition(|delivery| delivery.stale);
        if useful.is_empty()
            && let Some(delivery) = stale.first()
        {
            let text = format!("message {} is stale and was fetched", delivery.message);
            self.wrong.push(text);
        }
        // Who reserved before the pause may still ask within a second's worth, unless that was far ahead. Both ends
        // are blurred by the way of the answers and by clocks that know the time to a second.
        let blur_ms = 2_000 + latency_ms;
        let paused = self.pauses.iter().find(|pause| {
            now_ms > pause.from_ms + 4_000 + blur_ms && now_ms < pause.until_ms - blur_ms
        });
        if let Some(pause) = paused {
            self.wrong.push(format!(
                "{worker} asks at {now_ms} ms in the pause from {} to {}",
                pause.from_ms, pause.until_ms
            ));
        }
    }

    /// A storage call was carried out.
    pub(crate) fn stored(&mut self, call: &Call, now_ms: i64, rate: i64) {
        // Without a limit there is no budget to pause.
        if rate == 0 || !call.path.ends_with("/control/budget.json") || call.method != "PUT" {
            return;
        }
        let json: Option<serde_json::Value> = serde_json::from_slice(&call.body).ok();
        let free_at_ms = json.and_then(|json| json["free_at_ms"].as_i64());
        let Some(until_ms) = free_at_ms else {
            self.wrong.push("the budget is no number".to_owned());
            return;
        };
        let running = self
            .pauses
            .last()
            .is_some_and(|pause| now_ms < pause.until_ms);
        if until_ms > now_ms + PAUSE_MS - 2_000 && !running {
            self.pauses.push(Pause {
                from_ms: now_ms,
                until_ms,
            });
        }
    }

    /// A message is put on the queue by the program.
    pub(crate) fn sent(&mut self, item: &serde_json::Value, queued: usize, blobs: &Blobs) {
        self.longest_queue = self.longest_queue.max(queued);
        let copy = item.get("attempt").is_some() || item.get("waits").is_some();
        let (Some(from), Some(user)) = (item["from"].as_i64(), item["user"].as_str()) else {
            return;
        };
        // A continuation says where the archive stands, so it comes after the append.
        if !copy && newest(blobs, user).is_none_or(|newest| newest < from) {
            self.wrong
                .push(format!("a continuation from {from} before the append"));
        }
    }

    /// Looks at the whole. `clocks_off_ms`: how far two clocks may be apart; `rate` in requests per second, 0 for
    /// none.
    pub(crate) fn look_back(&mut self, rate: i64, clocks_off_ms: i64) {
        if rate == 0 {
            return;
        }
        for window_ms in [1_000, 10_000] {
            // Each interval of the budget has one request, and a window cuts one interval more than it holds.
            let most = (window_ms + 2 * clocks_off_ms) * rate / 1_000 + 1;
            let asked = &self.asked_ms;
            let mut first = 0;
            for (index, asked_ms) in asked.iter().enumerate() {
                while asked[first] <= asked_ms - window_ms {
                    first += 1;
                }
                if i64::try_from(index - first + 1).expect("few") > most {
                    self.wrong.push(format!(
                        "more than {most} requests in {window_ms} ms from {} on",
                        asked[first]
                    ));
                    break;
                }
            }
        }
    }
}

/// The second of the last line of the newest data blob: where a user's archive ends.
pub(crate) fn newest(blobs: &Blobs, user: &str) -> Option<i64> {
    let prefix = format!("user={}/", user.to_lowercase());
    let files = blobs.containers.get("scrobbles")?.iter();
    let files = files.filter(|(name, blob)| name.starts_with(&prefix) && !blob.bytes.is_empty());
    let files: BTreeMap<Vec<u64>, &[u8]> = files
        .map(|(name, blob)| (numbers(&name[prefix.len()..]), blob.bytes.as_slice()))
        .collect();
    let (_, bytes) = files.last_key_value()?;
    let line = bytes.trim_ascii_end();
    let start = line.iter().rposition(|byte| *byte == b'\n');
    let line = &line[start.map_or(0, |start| start + 1)..];
    let json: serde_json::Value = serde_json::from_slice(line).ok()?;
    json["uts"].as_i64()
}

/// The numbers in a name: year, month and part.
pub(crate) fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
