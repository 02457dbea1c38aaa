//! Which of the known, former or possible readings of Last.fm the fake follows.

/// How a bound of a window treats the second it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The named second belongs to the window.
    Inclusive,
    /// The named second does not belong to the window.
    Exclusive,
}

/// How numbers are written in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// `"total": "249"`, as Last.fm does.
    Strings,
    /// `"total": 249`, as Last.fm may do one day.
    Plain,
}

/// The shape of `track` when there is exactly one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OneRowShape {
    /// An array of one: today.
    Array,
    /// The row itself: bodies of 2011 to 2021. Also covers a now-playing row that stands alone.
    Object,
}

/// The shape of an answer without rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyShape {
    /// `track: []` beside `@attr`: today.
    Array,
    /// `"#text": "\n"` and the attributes directly in `recenttracks`, no `track`, no `@attr`: 2013 and 2014.
    FlatAttributes,
}

/// What is answered to a page after the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastTheEnd {
    /// No rows but the one that plays now.
    EmptyPage,
    /// Error 6 `no such page`, HTTP 400.
    NoSuchPage,
}

/// A bucket of requests that is filled steadily. A request that finds it empty answers error 29 with HTTP 429, and
/// takes nothing.
///
/// One request in each interval of a steady rate, anywhere inside its interval, needs a burst of 2 and no more: at 4 a
/// second that makes up to 5 requests in one second, and up to 41 in ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many requests the bucket gets each second.
    pub requests_per_second: usize,
    /// How many it holds, so many may come at once after a pause.
    pub burst: usize,
    /// Sent as `Retry-After` when given. The real service was never seen to send one.
    pub retry_after_seconds: Option<u64>,
}

/// All switches, with today's Last.fm as the default. May be changed while the fake is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The only keys that are accepted; `None` accepts every key that is not empty.
    pub accepted_keys: Option<Vec<String>>,
    /// Keys that answer error 26.
    pub suspended_keys: Vec<String>,
    /// Whether `from` names a second inside the window. Default: inclusive.
    pub from_bound: Bound,
    /// Whether `to` names a second inside the window. Default: exclusive.
    pub to_bound: Bound,
    /// Larger limits are silently lowered to this, as the documented maximum of 200 suggests.
    pub limit_clamp: Option<i64>,
    /// What a page after the last one answers.
    pub past_the_end: PastTheEnd,
    /// How numbers are written.
    pub numbers: Numbers,
    /// Whether `/` is written as `\/`.
    pub escape_slashes: bool,
    /// The shape of a single row.
    pub one_row: OneRowShape,
    /// The shape of no rows.
    pub no_rows: EmptyShape,
    /// Whether `@attr` is there at all; some bodies of 2014 have none.
    pub page_attributes: bool,
    /// The rate that is enforced, if any.
    pub rate_limit: Option<RateLimit>,
    /// How far the `Date` header runs ahead (or, when negative, behind).
    pub date_skew_seconds: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accepted_keys: None,
            suspended_keys: Vec::new(),
            from_bound: Bound::Inclusive,
            to_bound: Bound::Exclusive,
            limit_clamp: None,
            past_the_end: PastTheEnd::EmptyPage,
            numbers: Numbers::Strings,
            escape_slashes: true,
            one_row: OneRowShape::Array,
            no_rows: EmptyShape::Array,
            page_attributes: true,
            rate_limit: None,
            date_skew_seconds: 0,
        }
    }
}
