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
    version: u64,
}

/// The service of one account.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    pub(crate) containers: BTreeMap<String, BTreeMap<String, Blob>>,
    /// Blocks that one append blob takes; 50,000 at the real service.
    pub(crate) blocks_max: usize,
    /// Names on one page of a listing.
    pub(crate) names_max: usize,
    /// Appends that took effect.
    pub(crate) appends: usize,
    pub(crate) versions: u64,
}

impl Blobs {
    pub(crate) fn answer(&mut self, call: &Call) -> Reply {
        let path = call.path.trim_start_matches("/devstoreaccount1/");
        let (container, name) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() && call.query("restype") == "container" {
            return match call.method.as_str() {
                "PUT" => self.create_container(container),
                "GET" => self.list(container, call),
                _ => Reply::refused(405, "UnsupportedHttpVerb"),
            };
        }
        let (blocks_max, versions) = (self.blocks_max, &mut self.versions);
        let Some(blobs) = self.containers.get_mut(container) else {
            return Reply::refused(404, "ContainerNotFound");
        };
        match (call.method.as_str(), call.query("comp")) {
            ("PUT", "appendblock") => {
                let Some(blob) = blobs.get_mut(name) else {
                    return Reply::refused(404, "BlobNotFound");
                };
                if blob.blocks >= blocks_max {
                    return Reply::refused(409, "BlockCountExceedsLimit");
                }
                let expected = call.header("x-ms-blob-condition-appendpos");
                if expected.is_some_and(|expected| expected != blob.bytes.len().to_string()) {
                    return Reply::refused(412, "AppendPositionConditionNotMet");
                }
                let offset = blob.bytes.len();
                blob.bytes.extend_from_slice(&call.body);
                blob.blocks += 1;
                *versions += 1;
                blob.version = *versions;
                self.appends += 1;
                Reply::new(201).with("x-ms-blob-append-offset", offset)
            }
            ("PUT", "") => {
                let existing = blobs.get(name).map(|blob| etag(blob.version));
                if call.header("if-none-match") == Some("*") && existing.is_some() {
                    return Reply::refused(409, "BlobAlreadyExists");
                }
                if let Some(wanted) = call.header("if-match")
                    && existing.as_deref() != Some(wanted)
                {
                    return Reply::refused(412, "ConditionNotMet");
                }
                *versions += 1;
                let blob = Blob {
                    bytes: call.body.clone(),
                    blocks: 0,
                    version: *versions,
                };
                let reply = Reply::new(201).with("etag", etag(blob.version));
                blobs.insert(name.to_owned(), blob);
                reply
            }
            ("HEAD", _) => match blobs.get(name) {
                Some(blob) => Reply::new(200)
                    .with("content-length", blob.bytes.len())
                    .with("etag", etag(blob.version)),
                None => Reply::refused(404, "BlobNotFound"),
            },
            ("GET", _) => match blobs.get(name) {
                Some(blob) => read(blob, call),
                None => Reply::refused(404, "BlobNotFound"),
            },
            _ => Reply::refused(400, "UnsupportedByTheSimulation"),
        }
    }

    fn create_container(&mut self, container: &str) -> Reply {
        if self.containers.contains_key(container) {
            return Reply::refused(409, "ContainerAlreadyExists");
        }
        self.containers
            .insert(container.to_owned(), BTreeMap::new());
        Reply::new(201)
    }

    fn list(&self, container: &str, call: &Call) -> Reply {
        let Some(blobs) = self.containers.get(container) else {
            return Reply::refused(404, "ContainerNotFound");
        };
        let (prefix, marker) = (call.query("prefix"), call.query("marker"));
        let mut names = blobs
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && name.as_str() >= marker);
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"x\" ContainerName=\"{container}\"><Blobs>"
        );
        for (name, blob) in names.by_ref().take(self.names_max) {
            xml.push_str(&format!(
                "<Blob><Name>{name}</Name><Properties><Content-Length>{}</Content-Length><BlobType>AppendBlob</BlobType></Properties></Blob>",
                blob.bytes.len()
            ));
        }
        let next = names.next().map_or("", |(name, _)| name);
        xml.push_str(&format!(
            "</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
        ));
        let mut reply = Reply::new(200).with("content-type", "application/xml");
        reply.body = xml.into_bytes();
        reply
    }
}

fn etag(version: u64) -> String {
    format!("\"0x{version:x}\"")
}

/// A whole blob, or the range that is asked for.
fn read(blob: &Blob, call: &Call) -> Reply {
    let wanted = call.header("x-ms-range").or(call.header("range"));
    let length = blob.bytes.len();
    let Some(wanted) = wanted.and_then(|range| range.strip_prefix("bytes=")) else {
        let mut reply = Reply::new(200).with("etag", etag(blob.version));
        reply.body.clone_from(&blob.bytes);
        return reply.with("content-length", length);
    };
    let (start, end) = wanted.split_once('-').expect("a range has a dash");
    let start: usize = start.parse().expect("a number");
    let end = end
        .parse()
        .map_or(length, |last: usize| (last + 1).min(length));
    if start >= length {
        return Reply::refused(416, "InvalidRange");
    }
    let mut reply = Reply::new(206)
        .with("etag", etag(blob.version))
        .with("content-length", end - start)
        .with(
            "content-range",
            format!("bytes {start}-{}/{length}", end - 1),
        );
    reply.body = blob.bytes[start..end].to_vec();
    reply
}
