//! Everything outside the program: blobs, queue, Last.fm and time.

use crate::blobs::{Blobs, Call, Reply, http_date};
use crate::looks::{Block, Looks};
use crate::queue::Queues;
use crate::truth::{Truth, USERS};
use crate::witness::Witness;
use azure_core::http::Url;
use fake_lastfm::{
    Answer, Bound, Delivery, EmptyShape, Fault, LastFm, OneRowShape, PastTheEnd, Play,
};
use fastrand::Rng;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::time::Instant;

/// The world of one schedule.
pub(crate) struct World {
    pub(crate) random: Rng,
    start: Instant,
    base_ms: i64,
    pub(crate) blobs: Blobs,
    pub(crate) queues: Queues,
    pub(crate) lastfm: LastFm,
    /// One for each user.
    pub(crate) truths: Vec<Truth>,
    pub(crate) witness: Witness,
    pub(crate) looks: Looks,
    /// The faults have stopped.
    pub(crate) is_calm: bool,
    /// Faults in a hundred outside calls.
    pub(crate) faults_percent: u32,
    pub(crate) crashes_permille: u32,
    pub(crate) lastfm_percent: u32,
    pub(crate) latency_ms_max: u64,
    /// Before the network calmed down.
    pub(crate) latency_ms_longest: i64,
    /// An answer with more rows than this is a 500, every time.
    pub(crate) rows_max: usize,
    /// Seconds larger than a block occur; then no deletion meets them (see `Truth::delete`).
    pub(crate) small_blocks: bool,
    /// How far the processes' clocks can be apart once they were corrected; 0: all of them are right.
    pub(crate) clocks_off_ms: i64,
    loud: bool,
    /// Changes with everything that happens: two runs of a seed have the same.
    pub(crate) fingerprint: u64,
    pub(crate) calls: u64,
    /// Requests a second; 0 is no limit.
    pub(crate) rate: i64,
    /// Messages by hand that their function must refuse: the queue and the body.
    pub(crate) bad_messages: Vec<(&'static str, String)>,
}

pub(crate) type Shared = Arc<Mutex<World>>;

/// The world, from whoever wants it next. Never held over an `await`.
pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().expect("nobody panics with the world in hand")
}

/// What the network does to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    /// Never sent, and the caller knows.
    NoConnection,
    /// Lost on the way there.
    RequestLost,
    /// Carried out; the answer is lost.
    AnswerLost,
    /// The caller hears of a broken connection, and it is carried out later.
    CarriedOutLater(u64),
    /// The answer's body breaks off.
    BodyCut,
    /// No answer until the caller gives up; carried out or not.
    TimedOut(bool),
    Unavailable(Option<u32>),
    CrashBefore,
    CrashAfter,
    /// The process dies and the call still arrives.
    CrashAndLater(u64),
}

impl World {
    pub(crate) fn new(mut random: Rng, loud: bool) -> Self {
        let latency_ms = *random.choice(&[1, 50, 500, 5_000]).expect("some");
        // The first of March 2024, often within hours of midnight.
        let spread_s = *random.choice(&[300, 7_200, 2_000_000]).expect("some");
        let base_ms = (1_709_251_200 + random.i64(-spread_s..spread_s)) * 1_000;
        Self {
            start: Instant::now(),
            base_ms,
            blobs: Blobs {
                blocks_max: *random.choice(&[3, 4, 8, 50_000]).expect("some"),
                names_max: *random.choice(&[1, 2, 5, 5_000]).expect("some"),
                ..Blobs::default()
            },
            queues: Queues::default(),
            lastfm: LastFm::new(),
            truths: Vec::new(),
            witness: Witness::default(),
            looks: Looks::default(),
            is_calm: false,
            faults_percent: *random.choice(&[0, 2, 5, 10, 20]).expect("some"),
            crashes_permille: *random.choice(&[0, 2, 10, 30]).expect("some"),
            lastfm_percent: *random.choice(&[0, 5, 15, 40]).expect("some"),
            latency_ms_max: latency_ms,
            latency_ms_longest: i64::try_from(latency_ms).expect("small"),
            rows_max: usize::MAX,
            small_blocks: random.bool(),
            clocks_off_ms: if random.bool() {
                0
            } else {
                // They know the time to a second and the way of an answer.
                1_000 + i64::try_from(latency_ms).expect("small")
            },
            random,
            loud,
            fingerprint: 0,
            calls: 0,
            rate: 0,
            bad_messages: Vec::new(),
        }
    }

    /// Makes Last.fm and its users.
    pub(crate) fn prepare(&mut self) {
        let now = self.now_ms().div_euclid(1_000);
        let random = &mut self.random;
        let config = &mut self.lastfm.config;
        let bounds = [Bound::Inclusive, Bound::Exclusive];
        config.from_bound = *random.choice(&bounds).expect("some");
        config.to_bound = *random.choice(&bounds).expect("some");
        config.past_the_end = *random
            .choice(&[PastTheEnd::EmptyPage, PastTheEnd::NoSuchPage])
            .expect("some");
        config.one_row = *random
            .choice(&[OneRowShape::Array, OneRowShape::Object])
            .expect("some");
        config.no_rows = *random
            .choice(&[EmptyShape::Array, EmptyShape::FlatAttributes])
            .expect("some");
        config.limit_clamp = *random.choice(&[None, None, Some(200)]).expect("some");
        let strangers =
            (0..30).map(|n| Play::new(now - 1_000 + n, "Stranger", &format!("Strange {n}")));
        self.lastfm.add_user("mallory", strangers);
        let users = *random.choice(&[1, 1, 1, 1, 2, 3]).expect("some");
        for user in &USERS[..users] {
            let truth = Truth::begin(user, &mut self.lastfm, random, now);
            if random.bool() {
                self.lastfm.user_mut(user).now_playing = Some(Play::new(0, "Now", "Playing"));
            }
            self.truths.push(truth);
        }
        if random.u32(0..10) == 0 {
            self.rows_max = *random.choice(&[1, 3, 10, 50]).expect("some");
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.base_ms + i64::try_from(self.start.elapsed().as_millis()).expect("short")
    }

    pub(crate) fn say(&mut self, who: impl Display, what: impl Display) {
        let text = format!(
            "{:>9.3} {who:<6} {what}",
            self.start.elapsed().as_secs_f64()
        );
        for byte in text.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.loud {
            eprintln!("{text}");
        }
    }

    pub(crate) fn fate(&mut self, url: &Url) -> Fate {
        let storage = url.port() != Some(8090);
        if self.faults_percent > 0 && self.random.u32(0..1_000) < self.crashes_permille {
            return match self.random.u32(0..5) {
                0 | 1 => Fate::CrashBefore,
                2 | 3 => Fate::CrashAfter,
                _ => Fate::CrashAndLater(self.random.u64(1..40_000)),
            };
        }
        if self.random.u32(0..100) >= self.faults_percent {
            return Fate::Fine;
        }
        match self.random.u32(0..9) {
            8 if storage => Fate::TimedOut(self.random.bool()),
            0 => Fate::NoConnection,
            1 => Fate::RequestLost,
            2 | 3 => Fate::AnswerLost,
            4 if storage => Fate::CarriedOutLater(self.random.u64(1..30_000)),
            5 => Fate::BodyCut,
            6 if storage => Fate::Unavailable(None),
            7 if storage => Fate::Unavailable(Some(self.random.u32(0..8))),
            _ => Fate::Fine,
        }
    }

    /// Carries out a storage call.
    pub(crate) fn storage(&mut self, url: &Url, call: &Call) -> Reply {
        let now_ms = self.now_ms();
        let reply = if url.port() == Some(10_001) {
            self.queues.answer(call, now_ms)
        } else {
            self.blobs.now_ms = now_ms;
            self.blobs.answer(call)
        };
        if reply.status == 201 {
            self.witness
                .stored(call, now_ms, self.rate, self.clocks_off_ms);
            if call.query("comp") == "appendblock"
                && let Some(block) = Block::of(call, &self.blobs)
            {
                self.witness.appended(&block, now_ms, self.clocks_off_ms);
                self.looks
                    .appended(&block, self.witness.hand(), &self.truths, now_ms);
            }
            if let Some((queue, item)) = sent_message(call) {
                self.witness.sent(&queue, &item, &self.blobs);
            }
        }
        if reply.status == 200 && call.query("comp") == "list" {
            self.witness.listed(call, &self.blobs);
        }
        assert!(
            !reply
                .headers
                .iter()
                .any(|(_, value)| value == "UnsupportedByTheSimulation"),
            "{} {url}",
            call.method
        );
        reply.with("date", http_date(now_ms))
    }

    /// Asks Last.fm.
    pub(crate) fn ask_lastfm(&mut self, url: &Url) -> Answer {
        let now_ms = self.now_ms();
        let query = url.query().unwrap_or_default();
        if self.random.u32(0..100) < self.lastfm_percent {
            let limit = url.query_pairs().find(|(name, _)| name == "limit");
            let limit = limit.and_then(|(_, limit)| limit.parse().ok());
            let fault = self.lastfm_fault(limit.unwrap_or(50));
            self.lastfm.faults.clear();
            self.lastfm.faults.push(fault);
        }
        let answer = self.lastfm.answer(query, None, now_ms);
        self.lastfm.faults.clear();
        let rows = self
            .lastfm
            .log
            .entries()
            .last()
            .map_or(0, |entry| entry.rows);
        let cursed = self.truths.iter().filter_map(Truth::curse);
        let names: Vec<String> = cursed.map(|play| format!("\"{}\"", play.track)).collect();
        let is_cursed =
            |name: &String| memchr::memmem::find(&answer.body, name.as_bytes()).is_some();
        if answer.status == 200 && (rows > self.rows_max || names.iter().any(is_cursed)) {
            self.lastfm.faults.push(Fault::plain_500());
            return self.lastfm.answer(query, None, now_ms);
        }
        answer
    }

    fn lastfm_fault(&mut self, limit: usize) -> Fault {
        let now_ms = self.now_ms();
        let moves = self.truths.iter().any(|truth| truth.moves(now_ms));
        let random = &mut self.random;
        let plays = USERS.map(|user| self.lastfm.users().find(|known| known.name() == user));
        let plays = plays.into_iter().flatten().map(|user| user.history.len());
        let plays = plays.max().unwrap_or(0);
        match random.u32(0..44) {
            0..=3 => Fault::error(8),
            4..=5 => Fault::error(11),
            6..=7 => Fault::error(16),
            8 => Fault::RateLimited {
                retry_after_seconds: *random
                    .choice(&[None, Some(0), Some(5), Some(100), Some(99_999)])
                    .expect("some"),
            },
            9 => Fault::Error {
                code: 29,
                status: *random.choice(&[200, 400, 429, 503]).expect("some"),
            },
            // What only a person can mend, or nobody ever saw.
            10 => Fault::error(
                *random
                    .choice(&[2, 3, 4, 5, 7, 9, 10, 13, 14, 15, 17, 26, 27, 28, 99])
                    .expect("some"),
            ),
            11 => Fault::Error {
                code: 6,
                status: 404,
            },
            12..=13 => Fault::Html(*random.choice(&[400, 502, 503]).expect("some")),
            14 => Fault::Html(200),
            15..=17 => Fault::plain_500(),
            18..=19 => Fault::EmptyBody,
            20..=22 => Fault::TruncatedJson,
            23..=24 => Fault::CutInBody,
            25..=26 => Fault::Reset,
            27..=28 => Fault::Delay(std::time::Duration::from_millis(random.u64(0..60_000))),
            29 => Fault::Hang,
            30..=31 => Fault::OtherUser("mallory".to_owned()),
            32..=34 => Fault::ShortPage(random.usize(1..4)),
            35..=37 => Fault::EmptyPage,
            38 => Fault::WrongTotal(plays + random.usize(1..30)),
            39 => Fault::WrongTotal(0),
            // Only a total that ends inside a page is contradicted by the rows: nobody sees through the others.
            40..=41 => {
                let limit = self.lastfm.config.limit_clamp.map_or(limit, |clamp| {
                    limit.min(usize::try_from(clamp).expect("positive"))
                });
                match random.usize(0..=plays) {
                    // One that hides a change counts what was there before it: the exception of `APART_MS`.
                    total if moves || total % limit == 0 => Fault::EmptyPage,
                    total => Fault::WrongTotal(total),
                }
            }
            _ => Fault::Error {
                code: *random.choice(&[8, 11, 16]).expect("some"),
                status: *random.choice(&[200, 400, 500, 503]).expect("some"),
            },
        }
    }
}

/// The message that a call puts on one of the two queues.
fn sent_message(call: &Call) -> Option<(String, serde_json::Value)> {
    let path = call.path.strip_suffix("/messages")?;
    let (_, queue) = path.rsplit_once('/')?;
    if call.method != "POST" || queue.ends_with("-poison") {
        return None;
    }
    let xml = std::str::from_utf8(&call.body).ok()?;
    let (_, rest) = xml.split_once("<MessageText>")?;
    let json = crate::queue::read(rest.split_once("</MessageText>")?.0.as_bytes())?;
    Some((queue.to_owned(), json))
}

/// How long until an answer is there, if it comes.
pub(crate) fn lateness(delivery: Delivery) -> Option<std::time::Duration> {
    match delivery {
        Delivery::Delayed(delay) => Some(delay),
        Delivery::Never => None,
        _ => Some(std::time::Duration::ZERO),
    }
}
