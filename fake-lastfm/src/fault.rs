//! What can go wrong, and when it does.

use std::fmt;
use std::time::Duration;

use crate::request::RequestInfo;

/// One thing that goes wrong with one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A Last.fm error with any code under any HTTP status, even 200. See [`Fault::error`] for the usual status.
    Error {
        /// Last.fm's code.
        code: u16,
        /// The HTTP status around it.
        status: u16,
    },
    /// Error 29 with HTTP 429.
    RateLimited {
        /// Sent as `Retry-After` when given.
        retry_after_seconds: Option<u64>,
    },
    /// A page of HTML from the front end, with this status.
    Html(u16),
    /// Any body at all; a plain 500 is `Body { status: 500, body: String::new() }`.
    Body {
        /// The HTTP status.
        status: u16,
        /// The body, sent as `text/plain`.
        body: String,
    },
    /// HTTP 200 with no body.
    EmptyBody,
    /// The first half of the true body, delivered as if it were whole.
    TruncatedJson,
    /// The connection is reset when half of the body was sent.
    CutInBody,
    /// The connection is reset before a byte of the answer was sent.
    Reset,
    /// The true answer, late.
    Delay(Duration),
    /// No answer, and the connection stays open.
    Hang,
    /// The answer for this user instead of the one asked for; for an unknown name only `@attr.user` changes.
    OtherUser(String),
    /// So many rows are missing from the middle of the page, while the totals count them.
    ShortPage(usize),
    /// All dated rows are missing, while the totals count them.
    EmptyPage,
    /// The totals claim this number instead of the true one.
    WrongTotal(usize),
    /// The true answer, filled up with spaces to so many bytes.
    HugeBody(usize),
}

impl Fault {
    /// A Last.fm error with the HTTP status that it was seen with.
    pub fn error(code: u16) -> Self {
        let status = match code {
            4 | 9 | 10 | 13 | 14 | 15 | 17 | 26 => 403,
            8 => 500,
            11 | 16 => 503,
            29 => 429,
            _ => 400,
        };
        Self::Error { code, status }
    }

    /// A plain 500 without a body.
    pub fn plain_500() -> Self {
        Self::Body {
            status: 500,
            body: String::new(),
        }
    }
}

type Predicate = Box<dyn FnMut(&RequestInfo) -> bool + Send>;
type Hook = Box<dyn FnMut(&RequestInfo) -> Option<Fault> + Send>;

/// The script of faults. Each request takes the first rule that applies to it, else asks the hook.
#[derive(Default)]
pub struct Faults {
    rules: Vec<Rule>,
    hook: Option<Hook>,
}

struct Rule {
    /// How often it still applies.
    times: usize,
    predicate: Predicate,
    fault: Fault,
}

impl Faults {
    /// Queues a fault: the next request that no earlier rule takes gets it, once.
    pub fn push(&mut self, fault: Fault) {
        self.push_when(1, |_| true, fault);
    }

    /// Queues a fault for the next `times` requests that match; `usize::MAX` means for good.
    pub fn push_when(
        &mut self,
        times: usize,
        predicate: impl FnMut(&RequestInfo) -> bool + Send + 'static,
        fault: Fault,
    ) {
        let predicate = Box::new(predicate);
        self.rules.push(Rule {
            times,
            predicate,
            fault,
        });
    }

    /// Asks this closure about every request that no rule takes. Replaces an earlier hook.
    pub fn hook(&mut self, hook: impl FnMut(&RequestInfo) -> Option<Fault> + Send + 'static) {
        self.hook = Some(Box::new(hook));
    }

    /// Forgets all rules and the hook.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many rules still wait. A test that ends with some has not tested what it says.
    pub fn pending(&self) -> usize {
        self.rules.len()
    }

    /// The fault of this request.
    pub(crate) fn choose(&mut self, request: &RequestInfo) -> Option<Fault> {
        let found = self
            .rules
            .iter_mut()
            .position(|rule| rule.times > 0 && (rule.predicate)(request));
        let Some(index) = found else {
            return self.hook.as_mut().and_then(|hook| hook(request));
        };
        let rule = &mut self.rules[index];
        if rule.times < usize::MAX {
            rule.times -= 1;
        }
        let fault = rule.fault.clone();
        self.rules.retain(|rule| rule.times > 0);
        Some(fault)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self
            .rules
            .iter()
            .map(|rule| (rule.times, &rule.fault))
            .collect();
        formatter
            .debug_struct("Faults")
            .field("rules", &rules)
            .field("hook", &self.hook.is_some())
            .finish()
    }
}
