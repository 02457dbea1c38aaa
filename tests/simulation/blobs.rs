//! The blob service, as far as the program uses it: a request in, an answer out.

use std::collections::BTreeMap;

/// What a service answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub(crate) fn refused(status: u16, code: &str) -> Self {
        Self::new(status).with("x-ms-error-code", code)
    }
}

/// A request without its transport.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// One blob of either kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blob {
    pub(crate) bytes: Vec<u8>,
    pub(crate) blocks: usize,
    /// An append blob, not a block blob.
    appendable: bool,
    version: u64,
    pub(crate) modified_ms: i64,
}

/// The service of one account.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    pub(crate) containers: BTreeMap<String, BTreeMap<String, Blob>>,
    /// Blocks that one append blob takes; 50,000 at the real service.
    pub(crate) blocks_max: usize,
    /// Names on one page of a listing.
    pub(crate) names_max: usize,
    /// Blobs of the archive that were put in place of others.
    pub(crate) replaced: Vec<String>,
    /// Appends that took effect.
    pub(crate) appends: usize,
    pub(crate) versions: u64,
    /// The time, for the dates of changes.
    pub(crate) now_ms: i64,
}

/// What every call may say.
const USUAL_HEADERS: [&str; 9] = [
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "user-agent",
    "x-ms-blob-content-type",
    "x-ms-client-request-id",
    "x-ms-date",
    "x-ms-version",
];

/// What further headers and which queries a call may have. Another one would not be heeded here, so it is refused,
/// and has to be added together with what Azurite makes of it (`contract`).
fn is_known(call: &Call) -> bool {
    let (headers, queries): (&[&str], &[&str]) = match (call.method.as_str(), call.query("comp")) {
        ("PUT", "appendblock") => (&["x-ms-blob-condition-appendpos"], &["comp"]),
        ("PUT", "") if call.query("restype") == "container" => (&[], &["restype"]),
        ("PUT", "") => (&["if-match", "if-none-match", "x-ms-blob-type"], &[]),
        ("GET", "list") => (&[], &["comp", "marker", "maxresults", "prefix", "restype"]),
        ("GET" | "HEAD", "") => (&["range"], &[]),
        _ => return false,
    };
    let mut names = call.headers.keys().map(String::as_str);
    names.all(|name| USUAL_HEADERS.contains(&name) || headers.contains(&name))
        && call
            .query
            .keys()
            .all(|name| queries.contains(&name.as_str()))
}

impl Blobs {
    pub(crate) fn answer(&mut self, call: &Call) -> Reply {
        if !is_known(call) {
            return Reply::refused(400, "UnsupportedByTheSimulation");
        }
        let path = call.path.trim_start_matches("/devstoreaccount1/");
        let (container, name) = path.split_once('/').unwrap_or((path, ""));
        if call.method == "PUT" && name.is_empty() {
            return self.create_container(container);
        }
        let Some(blobs) = self.containers.get(container) else {
            return Reply::refused(404, "ContainerNotFound");
        };
        match (call.method.as_str(), call.query("comp"), blobs.get(name)) {
            (_, "list", _) => list(container, blobs, self.names_max, call),
            ("PUT", "appendblock", Some(blob)) => {
                match append_refusal(call, blob, self.blocks_max) {
                    Some(refusal) => refusal,
                    None => self.append(container, name, call),
                }
            }
            ("PUT", "", existing) => match put_refusal(call, existing) {
                Some(refusal) => refusal,
                None => self.put(container, name, call),
            },
            (_, _, None) => Reply::refused(404, "BlobNotFound"),
            ("HEAD", _, Some(blob)) => {
                let mut reply = described(200, blob).with("content-length", blob.bytes.len());
                if blob.appendable {
                    reply = reply.with("x-ms-blob-committed-block-count", blob.blocks);
                }
                reply
            }
            (_, _, Some(blob)) => read(blob, call),
        }
    }

    /// Somebody writes a blob anew as it is: only its version and its date change.
    pub(crate) fn touch(&mut self, container: &str, name: &str) {
        let modified_ms = self.now_ms;
        let version = self.next_version();
        let blobs = self.containers.get_mut(container);
        if let Some(blob) = blobs.and_then(|blobs| blobs.get_mut(name)) {
            (blob.version, blob.modified_ms) = (version, modified_ms);
        }
    }

    fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    fn create_container(&mut self, container: &str) -> Reply {
        if self.containers.contains_key(container) {
            return Reply::refused(409, "ContainerAlreadyExists");
        }
        self.containers
            .insert(container.to_owned(), BTreeMap::new());
        Reply::new(201)
    }

    fn blob_mut(&mut self, container: &str, name: &str) -> &mut Blob {
        let blobs = self.containers.entry(container.to_owned()).or_default();
        blobs.entry(name.to_owned()).or_default()
    }

    fn append(&mut self, container: &str, name: &str, call: &Call) -> Reply {
        let (version, modified_ms) = (self.next_version(), self.now_ms);
        self.appends += 1;
        let blob = self.blob_mut(container, name);
        let offset = blob.bytes.len();
        blob.bytes.extend_from_slice(&call.body);
        blob.blocks += 1;
        (blob.version, blob.modified_ms) = (version, modified_ms);
        described(201, blob)
            .with("x-ms-blob-append-offset", offset)
            .with("x-ms-blob-committed-block-count", blob.blocks)
    }

    /// A new blob of either kind, in place of whatever stands there.
    fn put(&mut self, container: &str, name: &str, call: &Call) -> Reply {
        let blob = Blob {
            bytes: call.body.clone(),
            blocks: 0,
            appendable: call.header("x-ms-blob-type") == Some("AppendBlob"),
            version: self.next_version(),
            modified_ms: self.now_ms,
        };
        let reply = described(201, &blob);
        if container == "scrobbles" && self.containers[container].contains_key(name) {
            self.replaced.push(name.to_owned());
        }
        *self.blob_mut(container, name) = blob;
        reply
    }
}

/// Why a block does not land, if so.
fn append_refusal(call: &Call, blob: &Blob, blocks_max: usize) -> Option<Reply> {
    if call.body.is_empty() {
        return Some(Reply::refused(400, "InvalidHeaderValue"));
    }
    if !blob.appendable {
        return Some(Reply::refused(409, "InvalidBlobType"));
    }
    if blob.blocks >= blocks_max {
        return Some(Reply::refused(409, "BlockCountExceedsLimit"));
    }
    let expected = call.header("x-ms-blob-condition-appendpos")?;
    let met = expected == blob.bytes.len().to_string();
    (!met).then(|| Reply::refused(412, "AppendPositionConditionNotMet"))
}

/// Why a new blob must not stand here, if so.
fn put_refusal(call: &Call, existing: Option<&Blob>) -> Option<Reply> {
    if call.header("if-none-match") == Some("*") && existing.is_some() {
        return Some(Reply::refused(409, "BlobAlreadyExists"));
    }
    let wanted = call.header("if-match")?;
    let met = existing.is_some_and(|blob| etag(blob) == wanted);
    (!met).then(|| Reply::refused(412, "ConditionNotMet"))
}

fn list(container: &str, blobs: &BTreeMap<String, Blob>, names_max: usize, call: &Call) -> Reply {
    let (prefix, marker) = (call.query("prefix"), call.query("marker"));
    let names_max = call.query("maxresults").parse().unwrap_or(names_max);
    let mut names = blobs
        .iter()
        .filter(|(name, _)| name.starts_with(prefix) && name.as_str() >= marker);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"x\" ContainerName=\"{container}\"><Blobs>"
    );
    for (name, blob) in names.by_ref().take(names_max) {
        let kind = if blob.appendable {
            "AppendBlob"
        } else {
            "BlockBlob"
        };
        xml.push_str(&format!(
            "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Content-Length>{}</Content-Length><BlobType>{kind}</BlobType></Properties></Blob>",
            escaped(name),
            http_date(blob.modified_ms),
            blob.bytes.len()
        ));
    }
    let next = names.next().map_or("", |(name, _)| name);
    xml.push_str(&format!(
        "</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
        escaped(next)
    ));
    let mut reply = Reply::new(200).with("content-type", "application/xml");
    reply.body = xml.into_bytes();
    reply
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn etag(blob: &Blob) -> String {
    format!("\"0x{:x}\"", blob.version)
}

fn described(status: u16, blob: &Blob) -> Reply {
    Reply::new(status)
        .with("etag", etag(blob))
        .with("last-modified", http_date(blob.modified_ms))
}

/// A whole blob, or the range that is asked for.
fn read(blob: &Blob, call: &Call) -> Reply {
    let length = blob.bytes.len();
    let Some(wanted) = call
        .header("range")
        .and_then(|range| range.strip_prefix("bytes="))
    else {
        let mut reply = described(200, blob).with("content-length", length);
        reply.body.clone_from(&blob.bytes);
        return reply;
    };
    let (start, end) = wanted.split_once('-').expect("a range has a dash");
    let start: usize = start.parse().expect("a number");
    let end = end
        .parse()
        .map_or(length, |last: usize| (last + 1).min(length));
    if start >= length {
        return Reply::refused(416, "InvalidRange");
    }
    let mut reply = described(206, blob)
        .with("content-length", end - start)
        .with(
            "content-range",
            format!("bytes {start}-{}/{length}", end - 1),
        );
    reply.body = blob.bytes[start..end].to_vec();
    reply
}

/// Whole seconds, as the services write dates.
pub(crate) fn http_date(now_ms: i64) -> String {
    let now = jiff::Timestamp::from_millisecond(now_ms).expect("in range");
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
