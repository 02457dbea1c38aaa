//! Everything outside the program: blobs, queue, Last.fm and time.

use crate::blobs::{Blobs, Call, Reply, http_date};
use crate::queue::Queue;
use crate::truth::{Truth, USER};
use azure_core::http::Url;
use fake_lastfm::{Answer, Delivery, Fault, LastFm};
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
    pub(crate) queue: Queue,
    pub(crate) lastfm: LastFm,
    pub(crate) truth: Truth,
    /// Faults in a hundred outside calls; 0 once the faults have stopped.
    pub(crate) faults_percent: u32,
    pub(crate) crashes_permille: u32,
    pub(crate) lastfm_percent: u32,
    pub(crate) latency_ms_max: u64,
    /// Seconds larger than a block occur; then no deletion meets them (see `Truth::change`).
    pub(crate) small_blocks: bool,
    loud: bool,
    /// Changes with everything that happens: two runs of a seed have the same.
    pub(crate) fingerprint: u64,
    pub(crate) calls: u64,
    /// When requests to Last.fm were started.
    pub(crate) asked_ms: Vec<i64>,
    /// Requests a second; 0 is no limit.
    pub(crate) rate: i64,
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
    Unavailable(Option<u32>),
    CrashBefore,
    CrashAfter,
    /// The process dies and the call still arrives.
    CrashAndLater(u64),
}

impl World {
    pub(crate) fn new(mut random: Rng, loud: bool) -> Self {
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
            queue: Queue::default(),
            lastfm: LastFm::new(),
            truth: Truth::default(),
            faults_percent: *random.choice(&[0, 2, 5, 10, 20]).expect("some"),
            crashes_permille: *random.choice(&[0, 2, 10, 30]).expect("some"),
            lastfm_percent: *random.choice(&[0, 5, 15, 40]).expect("some"),
            latency_ms_max: *random.choice(&[1, 50, 500, 5_000]).expect("some"),
            small_blocks: random.bool(),
            random,
            loud,
            fingerprint: 0,
            calls: 0,
            asked_ms: Vec::new(),
            rate: 0,
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
        match self.random.u32(0..8) {
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
            self.queue.answer(call, now_ms)
        } else {
            self.blobs.now_ms = now_ms;
            self.blobs.answer(call)
        };
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
        if self.random.u32(0..100) < self.lastfm_percent {
            let fault = self.lastfm_fault();
            self.lastfm.faults.clear();
            self.lastfm.faults.push(fault);
        }
        let answer = self
            .lastfm
            .answer(url.query().unwrap_or_default(), None, now_ms);
        self.lastfm.faults.clear();
        answer
    }

    fn lastfm_fault(&mut self) -> Fault {
        let random = &mut self.random;
        let plays = self.lastfm.user(USER).history.len();
        match random.u32(0..40) {
            0..=3 => Fault::error(8),
            4..=5 => Fault::error(11),
            6..=7 => Fault::error(16),
            8 => Fault::RateLimited {
                retry_after_seconds: *random
                    .choice(&[None, Some(0), Some(5), Some(100), Some(99_999)])
                    .expect("some"),
            },
            9 => Fault::error(*random.choice(&[17, 10, 26, 4]).expect("some")),
            10 => Fault::Error {
                code: 6,
                status: 404,
            },
            11..=12 => Fault::Html(502),
            13 => Fault::Html(200),
            14..=16 => Fault::plain_500(),
            17..=18 => Fault::EmptyBody,
            19..=21 => Fault::TruncatedJson,
            22..=23 => Fault::CutInBody,
            24..=25 => Fault::Reset,
            26..=27 => Fault::Delay(std::time::Duration::from_millis(random.u64(0..60_000))),
            28 => Fault::Hang,
            29..=30 => Fault::OtherUser("mallory".to_owned()),
            31..=33 => Fault::ShortPage(random.usize(1..4)),
            34..=36 => Fault::EmptyPage,
            // Only totals that the rows contradict somewhere: nobody sees through the others.
            37 => Fault::WrongTotal(plays + random.usize(1..30)),
            38 => Fault::WrongTotal(0),
            _ => Fault::Error {
                code: 8,
                status: 200,
            },
        }
    }
}

/// How long until an answer is there, if it comes.
pub(crate) fn lateness(delivery: Delivery) -> Option<std::time::Duration> {
    match delivery {
        Delivery::Delayed(delay) => Some(delay),
        Delivery::Never => None,
        _ => Some(std::time::Duration::ZERO),
    }
}
