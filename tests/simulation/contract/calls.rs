//! The calls of the program, as the SDK puts them on the wire.

use azure_core::http::Method;

/// A call, relative to the container or the queue that a case has to itself.
pub(super) struct Ask {
    /// At the queue service, not at the blob service.
    pub(super) queue: bool,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) shows: Shows,
}

/// What counts of a good answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    Nothing,
    Version,
    Length,
    Bytes,
    Names,
    Message,
}

impl Ask {
    fn new(queue: bool, method: Method, path: &'static str) -> Self {
        Self {
            queue,
            method,
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
            shows: Shows::Nothing,
        }
    }

    fn showing(self, shows: Shows) -> Self {
        Self { shows, ..self }
    }

    fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let sized = self.header("content-length", body.len());
        Self { body, ..sized }
    }

    /// Only if the `ETag` is the one that a line of this case calls by this letter.
    pub(super) fn if_match(self, letter: char) -> Self {
        self.header("if-match", format!("{{{letter}}}"))
    }

    pub(super) fn if_absent(self) -> Self {
        self.header("if-none-match", "*")
    }

    /// From where the listing before broke off.
    pub(super) fn after_marker(self) -> Self {
        self.query("marker", "{marker}")
    }
}

pub(super) fn make_container() -> Ask {
    let ask = Ask::new(false, Method::Put, "").query("restype", "container");
    ask.header("content-length", 0)
}

/// Names below `prefix`, at most so many in one answer.
pub(super) fn list(prefix: &str, names_max: Option<usize>) -> Ask {
    let mut ask = Ask::new(false, Method::Get, "")
        .query("comp", "list")
        .query("restype", "container");
    if let Some(names_max) = names_max {
        ask = ask.query("maxresults", names_max);
    }
    ask.query("prefix", prefix)
        .header("accept", "application/xml")
        .showing(Shows::Names)
}

pub(super) fn make_append_blob(name: &'static str) -> Ask {
    let ask = Ask::new(false, Method::Put, name).header("content-length", 0);
    ask.header("x-ms-blob-type", "AppendBlob")
        .header("x-ms-blob-content-type", "application/x-ndjson")
        .showing(Shows::Version)
}

pub(super) fn append(name: &'static str, block: &str) -> Ask {
    let ask = Ask::new(false, Method::Put, name).query("comp", "appendblock");
    ask.body(block)
        .header("content-type", "application/octet-stream")
        .showing(Shows::Version)
}

pub(super) fn append_at(name: &'static str, position: u64, block: &str) -> Ask {
    append(name, block).header("x-ms-blob-condition-appendpos", position)
}

pub(super) fn put(name: &'static str, text: &str) -> Ask {
    let ask = Ask::new(false, Method::Put, name).body(text);
    ask.header("x-ms-blob-type", "BlockBlob")
        .header("content-type", "application/octet-stream")
        .header("x-ms-blob-content-type", "application/json")
        .showing(Shows::Version)
}

pub(super) fn properties(name: &'static str) -> Ask {
    Ask::new(false, Method::Head, name).showing(Shows::Length)
}

pub(super) fn read(name: &'static str) -> Ask {
    Ask::new(false, Method::Get, name).showing(Shows::Bytes)
}

/// `first` and `last` byte.
pub(super) fn read_range(name: &'static str, first: u64, last: u64) -> Ask {
    read(name).header("range", format!("bytes={first}-{last}"))
}

pub(super) fn make_queue() -> Ask {
    Ask::new(true, Method::Put, "").header("content-length", 0)
}

pub(super) fn send(text: &str, delay_s: Option<i64>) -> Ask {
    let mut ask = Ask::new(true, Method::Post, "messages");
    if let Some(delay_s) = delay_s {
        ask = ask.query("visibilitytimeout", delay_s);
    }
    ask.body(format!(
        "<QueueMessage><MessageText>{text}</MessageText></QueueMessage>"
    ))
    .header("content-type", "application/xml")
    .header("accept", "application/xml")
    .showing(Shows::Message)
}
