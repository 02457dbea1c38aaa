//! Watches the wire while the program runs: what must never happen, not even for a moment.

use crate::blobs::{Blobs, Call};
use azure_core::http::Url;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{Id, try_id};
use tokio::time::Instant;

/// Everybody pauses at least this long after Last.fm has limited the rate.
const PAUSE_MS: i64 = 60_000;

/// Longer than any call to the outside and any wait for the next one.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// A message in the hands of one process.
struct Delivery {
    worker: String,
    /// The task of the program that works on it, once that has called somebody: it does so before the process is given
    /// another message.
    task: Option<Id>,
    message: u64,
    /// Which delivery of the message it is.
    dequeue_count: u64,
    /// Of the names of its user's files.
    prefix: String,
    /// Delivered for the first time although the archive had passed the place where it was planned: it may not cost
    /// a single request.
    stale: bool,
    /// The user and the end of the window, when it was delivered again after the archive had passed that place: its first
    /// invocation may have died between the append and the continuation, so this one has to see that the work goes on.
    heals: Option<(String, i64)>,
    requests: usize,
    sent: usize,
    /// When it last called anybody.
    called: Option<Instant>,
    /// Blocks are filled up to here.
    block_bytes: usize,
    /// Where its last block starts: the blob and the position.
    block: Option<(String, usize)>,
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
    /// A process gets a message; `item` is nothing when that is no work item.
    pub(crate) fn delivered(
        &mut self,
        worker: &str,
        message: u64,
        dequeue_count: u64,
        item: Option<&serde_json::Value>,
        block_bytes: usize,
        blobs: &Blobs,
    ) {
        let redelivered = dequeue_count > 1 || item.is_some_and(|item| item["redelivered"] == true);
        let newest = item.and_then(|item| newest(blobs, item["user"].as_str()?));
        let field = |name: &str| item.and_then(|item| item[name].as_i64());
        let passed = newest.is_some_and(|newest| field("from").is_some_and(|from| from < newest));
        let user = item.and_then(|item| item["user"].as_str());
        // An item that cannot be done in so many attempts is given up, and the next tick makes a new one.
        let is_last_attempt = field("attempt") == Some(3);
        let window = user.map(str::to_owned).zip(field("to"));
        let stale = passed && !redelivered;
        self.useful_deliveries += usize::from(!stale);
        self.deliveries.push(Delivery {
            worker: worker.to_owned(),
            task: None,
            message,
            dequeue_count,
            prefix: format!("user={}/", user.unwrap_or_default().to_lowercase()),
            stale,
            heals: window.filter(|_| passed && redelivered && !is_last_attempt),
            requests: 0,
            sent: 0,
            called: None,
            block_bytes,
            block: None,
        });
    }

    /// The message that this task works on.
    fn in_hand(&mut self) -> Option<&mut Delivery> {
        let task = try_id()?;
        let mut deliveries = self.deliveries.iter_mut();
        deliveries.find(|delivery| delivery.task == Some(task))
    }

    /// A process calls somebody outside. With its first call a work item asks what there is of its user.
    pub(crate) fn called(&mut self, worker: &str, url: &Url) {
        if self.in_hand().is_none() {
            let prefix = url.query_pairs().find(|(name, _)| name == "prefix");
            let is_its = |delivery: &&mut Delivery| {
                let prefix = prefix.as_ref().map(|(_, prefix)| &**prefix);
                delivery.task.is_none()
                    && delivery.worker == worker
                    && prefix == Some(&delivery.prefix)
            };
            if let Some(delivery) = self.deliveries.iter_mut().find(is_its) {
                delivery.task = try_id();
            }
        }
        if let Some(delivery) = self.in_hand() {
            delivery.called = Some(Instant::now());
        }
    }

    /// The process has answered, or died.
    pub(crate) fn finished(
        &mut self,
        message: u64,
        dequeue_count: u64,
        success: bool,
        blobs: &Blobs,
    ) {
        let same = |delivery: &Delivery| {
            delivery.message == message && delivery.dequeue_count == dequeue_count
        };
        let Some(index) = self.deliveries.iter().position(same) else {
            return;
        };
        let delivery = self.deliveries.remove(index);
        let idle = delivery.called.map(|called| called.elapsed());
        if idle.is_some_and(|idle| idle > IDLE_MAX) {
            self.wrong
                .push(format!("message {} hung", delivery.message));
        }
        let is_left = |(user, to): (String, i64)| newest(blobs, &user) < Some(to);
        let idle = delivery.requests + delivery.sent == 0;
        if success && idle && delivery.heals.is_some_and(is_left) {
            self.wrong.push(format!(
                "message {} was delivered again and dropped, though nobody may go on with its work",
                delivery.message
            ));
        }
    }

    /// A process starts a request to Last.fm.
    pub(crate) fn asked(&mut self, worker: &str, now_ms: i64, latency_ms: i64) {
        self.asked_ms.push(now_ms);
        if let Some(delivery) = self.in_hand() {
            delivery.requests += 1;
            if delivery.stale {
                let text = format!("message {} is stale and was fetched", delivery.message);
                self.wrong.push(text);
            }
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

    /// A block has landed. The blocks of one invocation are cut between seconds, unless one second has more plays than
    /// a block may hold.
    pub(crate) fn appended(&mut self, call: &Call, blobs: &Blobs) {
        let Some(delivery) = self.in_hand() else {
            return;
        };
        let (_, blob) = call
            .path
            .split_once("/scrobbles/")
            .expect("only the archive is appended to");
        let bytes = &blobs.containers["scrobbles"][blob].bytes;
        let start = bytes.len() - call.body.len();
        let before = delivery.block.replace((blob.to_owned(), start));
        let limit = delivery.block_bytes;
        let Some((_, before_start)) = before.filter(|(before, _)| before == blob) else {
            return;
        };
        let (before, block) = (&bytes[before_start..start], &bytes[start..]);
        let last = before.split_inclusive(|byte| *byte == b'\n').next_back();
        let cut = last.and_then(second);
        let of_cut = |line: &&[u8]| second(line) == cut;
        let lines_before = before.split_inclusive(|byte| *byte == b'\n').rev();
        let lines_after = block.split_inclusive(|byte| *byte == b'\n');
        let after: usize = lines_after.take_while(of_cut).map(<[u8]>::len).sum();
        let whole: usize = after
            + lines_before
                .take_while(of_cut)
                .map(<[u8]>::len)
                .sum::<usize>();
        if after > 0 && whole <= limit {
            self.wrong.push(format!(
                "`{blob}` is cut at {start}, inside a second of {whole} bytes, with blocks of {limit}"
            ));
        }
    }

    /// A message is put on the queue by the program.
    pub(crate) fn sent(&mut self, item: &serde_json::Value, queued: usize, blobs: &Blobs) {
        if let Some(delivery) = self.in_hand() {
            delivery.sent += 1;
        }
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
    second(line)
}

/// When the play of a line was.
fn second(line: &[u8]) -> Option<i64> {
    let json: serde_json::Value = serde_json::from_slice(line).ok()?;
    json["uts"].as_i64()
}

/// The numbers in a name: year, month and part.
pub(crate) fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}
