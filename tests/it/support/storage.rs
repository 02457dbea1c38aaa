//! The tests' own client for blobs and queues: plain HTTP calls with a shared access signature in the address.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

/// Most messages that the service gives or shows in one answer.
const MESSAGES_PER_ANSWER_MAX: usize = 32;

/// A blob container, for arranging and looking.
#[derive(Clone)]
pub(crate) struct Container {
    http: Client,
    url: Url,
}

impl Container {
    /// The container `name` of the service at `endpoint`.
    pub(crate) fn new(http: Client, endpoint: &str, name: &str, sas: &str) -> Self {
        let mut url = Url::parse(&format!("{endpoint}/{name}")).unwrap();
        url.set_query(Some(sas));
        Self { http, url }
    }

    /// Creates the container; that it exists already is fine.
    pub(crate) async fn create(&self) {
        let request = self
            .http
            .put(with_query(&self.url, &[("restype", "container")]));
        send_allowing(request, &[StatusCode::CONFLICT]).await;
    }

    /// Name and length of each blob whose name starts with `prefix`, in the order of the names. Empty when there is no container.
    pub(crate) async fn list(&self, prefix: &str) -> Vec<(String, u64)> {
        let mut blobs = Vec::new();
        let mut marker = String::new();
        loop {
            let query = [
                ("restype", "container"),
                ("comp", "list"),
                ("prefix", prefix),
                ("marker", &marker),
            ];
            let request = self.http.get(with_query(&self.url, &query));
            let response = send_allowing(request, &[StatusCode::NOT_FOUND]).await;
            let xml = response.text().await.unwrap();
            for blob in elements(&xml, "Blob") {
                let length = element(blob, "Content-Length").parse().unwrap();
                blobs.push((element(blob, "Name"), length));
            }
            marker = elements(&xml, "NextMarker")
                .first()
                .map_or(String::new(), |text| unescape(text));
            if marker.is_empty() {
                return blobs;
            }
        }
    }

    /// The whole blob.
    pub(crate) async fn download(&self, blob: &str) -> Vec<u8> {
        let response = send(self.http.get(self.blob_url(blob, &[]))).await;
        response.bytes().await.unwrap().to_vec()
    }

    /// Writes a block blob, in place of whatever stood there.
    pub(crate) async fn put(&self, blob: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        let request = self.http.put(self.blob_url(blob, &[]));
        let request = request
            .header("x-ms-blob-type", "BlockBlob")
            // The service insists on it, and for an empty body nobody else writes it.
            .header("content-length", content.len());
        send(request.body(content)).await;
    }

    /// Writes an append blob, in place of whatever stood there.
    pub(crate) async fn put_append_blob(&self, blob: &str, content: impl Into<Vec<u8>>) {
        self.create_append_blob(blob).await;
        self.append(blob, content).await;
    }

    /// Makes an empty append blob, in place of whatever stood there.
    pub(crate) async fn create_append_blob(&self, blob: &str) {
        let request = self.http.put(self.blob_url(blob, &[]));
        send(
            request
                .header("x-ms-blob-type", "AppendBlob")
                .header("content-length", "0"),
        )
        .await;
    }

    /// Appends one block.
    pub(crate) async fn append(&self, blob: &str, content: impl Into<Vec<u8>>) {
        let request = self
            .http
            .put(self.blob_url(blob, &[("comp", "appendblock")]));
        send(request.body(content.into())).await;
    }

    /// Deletes the blob.
    pub(crate) async fn delete(&self, blob: &str) {
        send(self.http.delete(self.blob_url(blob, &[]))).await;
    }

    fn blob_url(&self, blob: &str, query: &[(&str, &str)]) -> Url {
        let mut url = with_query(&self.url, query);
        url.path_segments_mut().unwrap().extend(blob.split('/'));
        url
    }
}

/// A storage queue, for arranging, looking, and for the double of the host.
#[derive(Clone)]
pub(crate) struct Queue {
    http: Client,
    url: Url,
}

/// A message as somebody received it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedMessage {
    /// The service's name for the message.
    pub(crate) id: String,
    /// Proof of being the latest receiver.
    pub(crate) pop_receipt: String,
    /// How many times it was received, this time included.
    pub(crate) dequeue_count: u64,
    /// When it was put, as HTTP dates are written.
    pub(crate) insertion_time: String,
    /// When the service drops it.
    pub(crate) expiration_time: String,
    /// The text exactly as it was put.
    pub(crate) text: String,
}

impl ReceivedMessage {
    /// A message that never was on a queue.
    pub(crate) fn made_up(dequeue_count: u64) -> Self {
        Self {
            id: "5c7f0a4e-1d0b-4f43-8f3f-6f1a9d0e2b77".to_owned(),
            pop_receipt: "AgAAAAMAAAAAAAAAqk3v8w==".to_owned(),
            dequeue_count,
            insertion_time: "Mon, 02 Mar 2026 09:00:00 GMT".to_owned(),
            expiration_time: "Mon, 09 Mar 2026 09:00:00 GMT".to_owned(),
            text: String::new(),
        }
    }
}

impl Queue {
    /// The queue `name` of the service at `endpoint`.
    pub(crate) fn new(http: Client, endpoint: &str, name: &str, sas: &str) -> Self {
        let mut url = Url::parse(&format!("{endpoint}/{name}")).unwrap();
        url.set_query(Some(sas));
        Self { http, url }
    }

    /// The queue's name.
    pub(crate) fn name(&self) -> &str {
        self.url.path_segments().unwrap().next_back().unwrap()
    }

    /// Creates the queue; that it exists already is fine.
    pub(crate) async fn create(&self) {
        send(self.http.put(self.url.clone())).await;
    }

    /// Puts a message with exactly this text.
    pub(crate) async fn put(&self, text: &str) {
        self.put_delayed(text, Duration::ZERO).await;
    }

    /// Puts a message that nobody sees for a while (whole seconds).
    pub(crate) async fn put_delayed(&self, text: &str, delay: Duration) {
        let delay_s = delay.as_secs().to_string();
        let url = with_query(&self.messages_url(&[]), &[("visibilitytimeout", &delay_s)]);
        let xml = format!(
            "<QueueMessage><MessageText>{}</MessageText></QueueMessage>",
            escape(text)
        );
        send(self.http.post(url).body(xml)).await;
    }

    /// Receives up to `count_max` messages, which nobody else sees for `invisible_for` (whole seconds, at least one).
    pub(crate) async fn receive(
        &self,
        count_max: usize,
        invisible_for: Duration,
    ) -> Vec<ReceivedMessage> {
        let count = count_max.min(MESSAGES_PER_ANSWER_MAX).to_string();
        let invisible_s = invisible_for.as_secs().to_string();
        let url = with_query(
            &self.messages_url(&[]),
            &[
                ("numofmessages", &count),
                ("visibilitytimeout", &invisible_s),
            ],
        );
        let xml = send(self.http.get(url)).await.text().await.unwrap();
        elements(&xml, "QueueMessage")
            .into_iter()
            .map(received)
            .collect()
    }

    /// Deletes a received message. `false` when somebody else has received or deleted it since.
    pub(crate) async fn delete(&self, message: &ReceivedMessage) -> bool {
        let url = with_query(
            &self.messages_url(&[&message.id]),
            &[("popreceipt", &message.pop_receipt)],
        );
        settled(self.http.delete(url)).await
    }

    /// Gives a received message back, visible after `delay` (whole seconds). `false` as for [`Queue::delete`].
    pub(crate) async fn release(&self, message: &ReceivedMessage, delay: Duration) -> bool {
        let delay_s = delay.as_secs().to_string();
        let query = [
            ("popreceipt", message.pop_receipt.as_str()),
            ("visibilitytimeout", &delay_s),
        ];
        let url = with_query(&self.messages_url(&[&message.id]), &query);
        settled(self.http.put(url).header("content-length", "0")).await
    }

    /// The texts of all visible messages, which stay as they are. Empty when there is no queue.
    pub(crate) async fn peek_all(&self) -> Vec<String> {
        let count = MESSAGES_PER_ANSWER_MAX.to_string();
        let url = with_query(
            &self.messages_url(&[]),
            &[("peekonly", "true"), ("numofmessages", &count)],
        );
        let response = send_allowing(self.http.get(url), &[StatusCode::NOT_FOUND]).await;
        let xml = response.text().await.unwrap();
        let texts: Vec<_> = elements(&xml, "QueueMessage")
            .into_iter()
            .map(|message| element(message, "MessageText"))
            .collect();
        if texts.len() == MESSAGES_PER_ANSWER_MAX {
            let count = self.approximate_count().await;
            assert_eq!(
                count,
                texts.len(),
                "the service shows only {MESSAGES_PER_ANSWER_MAX} messages without receiving them"
            );
        }
        texts
    }

    /// How many messages there are, the invisible ones included. 0 when there is no queue.
    pub(crate) async fn approximate_count(&self) -> usize {
        let request = self
            .http
            .get(with_query(&self.url, &[("comp", "metadata")]));
        let response = send_allowing(request, &[StatusCode::NOT_FOUND]).await;
        let count = response.headers().get("x-ms-approximate-messages-count");
        count.map_or(0, |count| count.to_str().unwrap().parse().unwrap())
    }

    fn messages_url(&self, further: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .unwrap()
            .push("messages")
            .extend(further);
        url
    }
}

/// One element of the answer to a receive call.
fn received(xml: &str) -> ReceivedMessage {
    ReceivedMessage {
        id: element(xml, "MessageId"),
        pop_receipt: element(xml, "PopReceipt"),
        dequeue_count: element(xml, "DequeueCount").parse().unwrap(),
        insertion_time: element(xml, "InsertionTime"),
        expiration_time: element(xml, "ExpirationTime"),
        text: element(xml, "MessageText"),
    }
}

fn with_query(url: &Url, query: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

async fn send(request: RequestBuilder) -> Response {
    send_allowing(request, &[]).await
}

/// Sends; any status that is neither a success nor in `allowed` fails the test with the service's words.
async fn send_allowing(request: RequestBuilder, allowed: &[StatusCode]) -> Response {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let what = format!("{} {}", request.method(), request.url().path());
    let response = client.execute(request).await;
    let response = response.unwrap_or_else(|error| panic!("{what}: {}", error.without_url()));
    let status = response.status();
    if status.is_success() || allowed.contains(&status) {
        return response;
    }
    panic!(
        "{what}: {status}: {}",
        response.text().await.unwrap_or_default()
    );
}

/// Sends a call about a received message: `false` when the message is gone or its receipt is an old one.
async fn settled(request: RequestBuilder) -> bool {
    let response = send_allowing(request, &[StatusCode::NOT_FOUND, StatusCode::BAD_REQUEST]).await;
    let status = response.status();
    if status == StatusCode::BAD_REQUEST {
        let text = response.text().await.unwrap();
        assert!(text.contains("PopReceiptMismatch"), "{text}");
    }
    status.is_success()
}

/// The insides of all elements of this name. Enough of XML for these answers, in which no element holds one of its own name.
pub(crate) fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let close = format!("</{name}>");
    xml.split(&format!("<{name}>"))
        .skip(1)
        .filter_map(|rest| rest.split_once(&close).map(|(inside, _)| inside))
        .collect()
}

/// The text of the one element of this name; empty when it is `<name/>` or missing.
pub(crate) fn element(xml: &str, name: &str) -> String {
    elements(xml, name)
        .first()
        .map_or(String::new(), |text| unescape(text))
}

fn escape(text: &str) -> String {
    // A bare carriage return would be read as a line feed.
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\r', "&#xD;")
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        let (name, after) = after.split_once(';').unwrap();
        plain.push_str(before);
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => character(number),
        });
        rest = after;
    }
    plain + rest
}

/// The character behind `#65` or `#x41`.
fn character(number: &str) -> char {
    let digits = number.strip_prefix('#').unwrap();
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    char::from_u32(code.unwrap()).unwrap()
}
