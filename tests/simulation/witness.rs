//! Watches the wire while the program runs: what must never happen, not even for a moment.

use crate::blobs::{Blobs, Call};
use crate::looks::Block;
use crate::parts::{is_part, newest, parts, parts_prefix, second};
use crate::queue::{Message, RECONCILES, WORK};
use azure_core::http::Url;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::{Id, try_id};
use tokio::time::Instant;

/// Everybody pauses at least this long after Last.fm has limited the rate.
const PAUSE_MS: i64 = 60_000;

/// A reconcile writes only where no part of its user has changed for so long.
const QUIET_MS: i64 = 180_000;

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
    /// From the queue of the reconciles.
    reconciles: bool,
    /// The mark of its run, for a reconcile.
    run: String,
    /// Whose plays it is about, in lower case.
    user: String,
    /// When a part of its user had last changed, as its last listing of them showed.
    parts_changed_ms: Option<i64>,
    begun_ms: i64,
    /// Delivered for the first time although the archive had passed the place where it was planned: it may not cost
    /// a single request.
    stale: bool,
    /// The user and the end of the window, when it was delivered again after the archive had passed that place: its first
    /// invocation may have died between the append and the continuation, so this one has to see that the work goes on.
    heals: Option<(String, i64)>,
    requests: usize,
    sent: usize,
    /// The last message that it sent.
    text: Option<String>,
    /// When it last called anybody.
    called: Option<Instant>,
    /// Blocks are filled up to here.
    block_bytes: usize,
    /// Where its last block starts: the blob and the position.
    block: Option<(String, usize)>,
}

/// What is known of the message in whose name something is written.
pub(crate) struct Hand {
    pub(crate) reconciles: bool,
    /// The mark of its run, for a reconcile.
    pub(crate) run: String,
    pub(crate) begun_ms: i64,
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
    /// Requests to Last.fm by reconciles, for each user.
    pub(crate) reconcile_requests: BTreeMap<String, usize>,
    /// When requests to Last.fm were started.
    asked_ms: Vec<i64>,
    /// The number in the budget, and the delivery that has written it.
    free_at_ms: (i64, Option<(u64, u64)>),
    pub(crate) wrong: Vec<String>,
}

impl Witness {
    /// A process gets a message; `item` is nothing when that is not what its queue is for. `block_bytes`: how large the
    /// process's blocks become.
    pub(crate) fn delivered(
        &mut self,
        worker: (&str, usize),
        message: &Message,
        item: Option<&Value>,
        blobs: &Blobs,
        now_ms: i64,
    ) {
        let dequeue_count = message.dequeue_count;
        let redelivered = dequeue_count > 1 || item.is_some_and(|item| item["redelivered"] == true);
        let text = |name: &str| item.and_then(|item| item[name].as_str());
        let user = text("user").unwrap_or_default().to_lowercase();
        let newest = newest(blobs, &user);
        let field = |name: &str| item.and_then(|item| item[name].as_i64());
        let is_work = message.queue == WORK;
        let from = field("from").filter(|_| is_work);
        let passed = newest.is_some_and(|newest| from.is_some_and(|from| from < newest));
        // An item that cannot be done in so many attempts is given up, and the next tick makes a new one.
        let is_last_attempt = field("attempt") == Some(3);
        let window = Some(user.clone()).zip(field("to"));
        let id = message.id.to_string();
        self.deliveries.push(Delivery {
            worker: worker.0.to_owned(),
            task: None,
            message: message.id,
            dequeue_count,
            reconciles: message.queue == RECONCILES,
            run: text("run").unwrap_or(&id).to_owned(),
            user,
            parts_changed_ms: None,
            begun_ms: now_ms,
            stale: passed && !redelivered,
            heals: window.filter(|_| passed && redelivered && !is_last_attempt),
            requests: 0,
            sent: 0,
            text: None,
            called: None,
            block_bytes: worker.1,
            block: None,
        });
    }

    /// The message that this task works on, for those who look at what it writes.
    pub(crate) fn hand(&mut self) -> Option<Hand> {
        let delivery = self.in_hand()?;
        Some(Hand {
            reconciles: delivery.reconciles,
            run: delivery.run.clone(),
            begun_ms: delivery.begun_ms,
        })
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
                    && prefix == Some(&parts_prefix(&delivery.user))
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
        let by = self.in_hand().filter(|delivery| delivery.reconciles);
        let user = by.map(|delivery| delivery.user.clone());
        if let Some(user) = user {
            *self.reconcile_requests.entry(user).or_default() += 1;
        }
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
    pub(crate) fn stored(&mut self, call: &Call, now_ms: i64, rate: i64, clocks_off_ms: i64) {
        // Without a limit there is no budget to pause.
        if rate == 0 || !call.path.ends_with("/control/budget.json") || call.method != "PUT" {
            return;
        }
        let json: Option<Value> = serde_json::from_slice(&call.body).ok();
        let free_at_ms = json.and_then(|json| json["free_at_ms"].as_i64());
        let Some(until_ms) = free_at_ms else {
            self.wrong.push("the budget is no number".to_owned());
            return;
        };
        let is_pause = until_ms > now_ms + PAUSE_MS - 2_000;
        let by = self.in_hand().map(|delivery| {
            let delivered = (delivery.message, delivery.dequeue_count);
            (delivered, delivery.reconciles)
        });
        let (before_ms, before) = self.free_at_ms;
        self.free_at_ms = (until_ms, by.map(|(by, _)| by));
        // New plays come first: a reconcile takes a request only where nobody else has one ahead.
        if let Some((by, true)) = by
            && !is_pause
            && before != Some(by)
            && before_ms > now_ms + clocks_off_ms
        {
            self.wrong.push(format!(
                "the reconcile {} reserves behind somebody else's {before_ms} at {now_ms}",
                by.0
            ));
        }
        let running = self
            .pauses
            .last()
            .is_some_and(|pause| now_ms < pause.until_ms);
        if is_pause && !running {
            self.pauses.push(Pause {
                from_ms: now_ms,
                until_ms,
            });
        }
    }

    /// Somebody has listed blobs: who reconciles sees by that whether the archive is quiet.
    pub(crate) fn listed(&mut self, call: &Call, blobs: &Blobs) {
        let Some(delivery) = self.in_hand() else {
            return;
        };
        let prefix = parts_prefix(&delivery.user);
        if call.query("prefix") == prefix && call.query("marker").is_empty() {
            let parts = parts(blobs, &delivery.user);
            delivery.parts_changed_ms = parts.map(|(_, blob)| blob.modified_ms).max();
        }
    }

    /// A block has landed.
    pub(crate) fn appended(&mut self, block: &Block<'_>, now_ms: i64, clocks_off_ms: i64) {
        let Some(delivery) = self.in_hand() else {
            return;
        };
        // What it listed had changed longer ago than any invocation lives that knew an older state. A date has whole
        // seconds.
        let changed_ms = delivery.parts_changed_ms.unwrap_or(i64::MIN / 2);
        let restless = now_ms + 1_000 + clocks_off_ms < changed_ms + QUIET_MS;
        let (message, name) = (delivery.message, block.name);
        let wrong = match (delivery.reconciles, is_part(name)) {
            (true, _) => restless.then(|| {
                let ago_ms = now_ms - changed_ms;
                format!("message {message} writes `{name}` {ago_ms} ms after a part changed")
            }),
            (false, false) => Some(format!("message {message} is a work item, writes `{name}`")),
            (false, true) => delivery.cut(block),
        };
        self.wrong.extend(wrong);
    }

    /// A message is put on a queue by the program.
    pub(crate) fn sent(&mut self, queue: &str, item: &Value, blobs: &Blobs) {
        if let Some(delivery) = self.in_hand() {
            delivery.sent += 1;
            // One goes on with the work, on the queue where it came from.
            let own = if delivery.reconciles {
                RECONCILES
            } else {
                WORK
            };
            // An answer that was lost lets the same be sent again.
            let text = item.to_string();
            let other = delivery.text.replace(text.clone()).unwrap_or(text.clone());
            if queue != own || delivery.reconciles && other != text {
                let message = delivery.message;
                self.wrong
                    .push(format!("message {message} puts {item} on `{queue}`"));
            }
        }
        if queue != WORK {
            return;
        }
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

impl Delivery {
    /// The blocks of one invocation are cut between seconds, unless one second has more plays than a block may hold.
    fn cut(&mut self, block: &Block<'_>) -> Option<String> {
        let (name, start) = (block.name, block.start);
        let before = self.block.replace((name.to_owned(), start));
        let (_, before_start) = before.filter(|(before, _)| before == name)?;
        let (before, block) = (&block.bytes[before_start..start], &block.bytes[start..]);
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
        let limit = self.block_bytes;
        (after > 0 && whole <= limit).then(|| {
            format!("`{name}` is cut at {start}, inside a second of {whole} bytes, with blocks of {limit}")
        })
    }
}
