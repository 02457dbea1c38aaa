//! What leaves the fake: a status, headers, a body, and what the transport must do with them.

use std::time::Duration;

use bytes::Bytes;

use crate::calendar::http_date;
use crate::config::Config;
use crate::fault::Fault;
use crate::render::Style;
use crate::request::RequestInfo;

/// What the transport must do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Deliver all of it at once.
    Whole,
    /// Deliver all of it after this time.
    Delayed(Duration),
    /// Deliver so many bytes of the body, then reset the connection.
    CutAfter(usize),
    /// Reset the connection instead of delivering anything.
    Reset,
    /// Deliver nothing and keep the connection open.
    Never,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, with lower-case names; `date` and `content-type` are always there.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body, even when it will be cut on the way.
    pub body: Bytes,
    /// What the transport must do.
    pub delivery: Delivery,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer before its headers, with what the log wants to know about it.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) code: Option<u16>,
    pub(crate) rows: usize,
    pub(crate) retry_after_seconds: Option<u64>,
}

impl Reply {
    /// A body without a Last.fm error code.
    pub(crate) fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            body,
            code: None,
            rows: 0,
            retry_after_seconds: None,
        }
    }

    /// What a fault puts in place of the true answer; `None` when it only bends the true answer.
    pub(crate) fn instead(
        fault: Option<&Fault>,
        config: &Config,
        request: &RequestInfo,
    ) -> Option<Self> {
        match fault? {
            Fault::Error { code, status } => {
                Some(Refusal::of_code(*code, *status).reply(config, request))
            }
            Fault::RateLimited {
                retry_after_seconds,
            } => Some(Self {
                retry_after_seconds: *retry_after_seconds,
                ..Refusal::of_code(29, 429).reply(config, request)
            }),
            Fault::Html(status) => {
                let body = format!(
                    "\n<html><head>\n<title>{status} Server Error</title>\n</head>\n<body><h1>Error: Server Error</h1></body></html>\n"
                );
                Some(Self::new(
                    *status,
                    "text/html; charset=UTF-8",
                    body.into_bytes(),
                ))
            }
            Fault::Body { status, body } => {
                Some(Self::new(*status, "text/plain", body.clone().into_bytes()))
            }
            Fault::EmptyBody => Some(Self::new(200, JSON, Vec::new())),
            _ => None,
        }
    }

    /// Lets the fault act on the bytes, then adds headers and the instructions for the transport.
    pub(crate) fn finish(
        mut self,
        fault: Option<&Fault>,
        config: &Config,
        now_ms: i64,
    ) -> (Answer, Option<u16>, usize) {
        let delivery = match fault {
            Some(Fault::TruncatedJson) => {
                self.body.truncate(self.body.len() / 2);
                Delivery::Whole
            }
            Some(Fault::HugeBody(bytes)) => {
                self.body.resize(self.body.len().max(*bytes), b' ');
                Delivery::Whole
            }
            Some(Fault::CutInBody) => Delivery::CutAfter(self.body.len() / 2),
            Some(Fault::Reset) => Delivery::Reset,
            Some(Fault::Hang) => Delivery::Never,
            Some(Fault::Delay(delay)) => Delivery::Delayed(*delay),
            _ => Delivery::Whole,
        };
        let date = now_ms
            .div_euclid(1000)
            .saturating_add(config.date_skew_seconds);
        let mut headers = vec![
            ("server", "openresty".to_owned()),
            ("via", "1.1 google".to_owned()),
            ("date", http_date(date)),
            ("content-type", self.content_type.to_owned()),
        ];
        if let Some(seconds) = self.retry_after_seconds {
            headers.push(("retry-after", seconds.to_string()));
        }
        let answer = Answer {
            status: self.status,
            headers,
            body: self.body.into(),
            delivery,
        };
        (answer, self.code, self.rows)
    }
}

/// The content type of good answers and of errors.
pub(crate) const JSON: &str = "application/json; charset=UTF-8";

/// An error of Last.fm.
pub(crate) struct Refusal {
    code: u16,
    status: u16,
    message: &'static str,
}

impl Refusal {
    pub(crate) const MISSING_PARAMETER: Self = Self {
        code: 6,
        status: 400,
        message: "Invalid parameters - Your request is missing a required parameter",
    };
    pub(crate) const USER_NOT_FOUND: Self = Self {
        code: 6,
        status: 404,
        message: "User not found",
    };
    pub(crate) const LIMIT_OUT_OF_BOUNDS: Self = Self {
        code: 6,
        status: 400,
        message: "limit param out of bounds (1-1000)",
    };
    pub(crate) const PAGE_OUT_OF_BOUNDS: Self = Self {
        code: 6,
        status: 400,
        message: "page param out of bounds (1-1000000)",
    };
    pub(crate) const NO_SUCH_PAGE: Self = Self {
        code: 6,
        status: 400,
        message: "no such page",
    };

    /// The error of a code that has only one text.
    pub(crate) fn of_code(code: u16, status: u16) -> Self {
        let message = match code {
            3 => "Invalid Method - No method with that name in this package",
            4 => "Authentication Failed - You do not have permissions to access the service",
            5 => "Invalid format - This service doesn't exist in that format",
            6 if status == 404 => Self::USER_NOT_FOUND.message,
            6 => Self::MISSING_PARAMETER.message,
            8 => "Operation failed - Most likely the backend service failed. Please try again.",
            9 => "Invalid session key - Please re-authenticate",
            10 => "Invalid API key - You must be granted a valid key by last.fm",
            11 => "Service Offline - This service is temporarily offline. Try again later.",
            13 => "Invalid method signature supplied",
            16 => "There was a temporary error processing your request. Please try again",
            17 => "Login: User required to be logged in",
            26 => {
                "Suspended API key - Access for your account has been suspended, please contact Last.fm"
            }
            27 => "Deprecated - This type of request is no longer supported",
            29 => {
                "Rate Limit Exceeded - This application has made too many requests in a short period. If this is your API key, see https://www.last.fm/api/tos#4.4 for information about raising the limit."
            }
            _ => "An error of the fake without a text of its own",
        };
        Self {
            code,
            status,
            message,
        }
    }

    /// The error as a body. The order of its members differs between answers, as on Last.fm.
    pub(crate) fn reply(&self, config: &Config, request: &RequestInfo) -> Reply {
        let (code, message) = (self.code, self.message);
        let mut reply = if request.json {
            let mut text = Vec::new();
            Style::new(config, false).member("message", message, &mut text);
            let text = String::from_utf8_lossy(&text);
            let body = if request.number.is_multiple_of(2) {
                format!("{{\"error\":{code},{text}}}")
            } else {
                format!("{{{text},\"error\":{code}}}")
            };
            Reply::new(self.status, JSON, body.into_bytes())
        } else {
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<lfm status=\"failed\">\n<error code=\"{code}\">{message}</error>\n</lfm>\n"
            );
            Reply::new(self.status, XML, body.into_bytes())
        };
        reply.code = Some(code);
        reply
    }
}

/// The content type of everything that was asked for without `format=json`.
pub(crate) const XML: &str = "text/xml; charset=UTF-8";
