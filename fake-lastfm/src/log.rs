//! What was asked and what was answered.

use crate::request::RequestInfo;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// What was asked.
    pub request: RequestInfo,
    /// The HTTP status of the answer.
    pub status: u16,
    /// Last.fm's error code, if the answer was one.
    pub code: Option<u16>,
    /// How many dated rows were sent; the row that plays now is not counted.
    pub rows: usize,
    /// Whether a fault changed the answer or its delivery.
    pub faulty: bool,
}

/// Every request since the start or the last [`clear`](Self::clear), in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Log {
    entries: Vec<Logged>,
    total: usize,
}

impl Log {
    /// The requests, oldest first.
    pub fn entries(&self) -> &[Logged] {
        &self.entries
    }

    /// How many requests the log holds.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// How many requests there were since the start, forgotten ones included.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The largest number of requests that arrived within any `window_ms` milliseconds.
    pub fn busiest(&self, window_ms: i64) -> usize {
        let mut times: Vec<_> = self
            .entries
            .iter()
            .map(|entry| entry.request.at_ms)
            .collect();
        times.sort_unstable();
        let mut first = 0;
        let mut most = 0;
        for (last, time) in times.iter().enumerate() {
            while time - times[first] >= window_ms && first < last {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// Forgets the requests so far; their numbers go on counting.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Adds a request.
    pub(crate) fn push(&mut self, entry: Logged) {
        self.total += 1;
        self.entries.push(entry);
    }
}
