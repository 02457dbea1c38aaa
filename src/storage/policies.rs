//! What every storage request passes on its way out: a signature, if there is an account key, and a look at
//! the service's clock on the way back.

use crate::clock::Clock;
use crate::lastfm::http_date;
use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::headers::HeaderName;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Body, Context, Request};
use azure_core::time::{OffsetDateTime, to_rfc7231};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Signs with the account's key. The SDK knows tokens only; Azurite and connection strings have keys.
///
/// The text to sign: <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>
pub(super) struct SharedKey {
    pub(super) account: String,
    pub(super) key: Secret,
    pub(super) clock: Clock,
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SharedKey")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Policy for SharedKey {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        // Each attempt has its own date: a signature is good for 15 minutes, by the service's clock.
        let now = OffsetDateTime::from_unix_timestamp(self.clock.now())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        request.insert_header("x-ms-date", to_rfc7231(&now));
        let signature = hmac_sha256(&self.text_to_sign(request), &self.key)?;
        request.insert_header(
            "authorization",
            format!("SharedKey {}:{signature}", self.account),
        );
        next[0].send(context, request, &next[1..]).await
    }
}

impl SharedKey {
    fn text_to_sign(&self, request: &Request) -> String {
        let headers = request.headers();
        let header = |name: &'static str| {
            headers
                .get_optional_str(&HeaderName::from_static(name))
                .unwrap_or("")
        };
        let length = match request.body() {
            Body::Bytes(bytes) if !bytes.is_empty() => bytes.len().to_string(),
            Body::Bytes(_) => String::new(),
            Body::SeekableStream(stream) => stream
                .len()
                .map_or_else(String::new, |length| length.to_string()),
        };
        let mut text = format!("{}\n", request.method());
        for line in [
            header("content-encoding"),
            header("content-language"),
            &length,
            header("content-md5"),
            header("content-type"),
            // The date: it is in `x-ms-date`.
            "",
            header("if-modified-since"),
            header("if-match"),
            header("if-none-match"),
            header("if-unmodified-since"),
            header("range"),
        ] {
            text.push_str(line);
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let own: BTreeMap<&str, &str> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().trim()))
            .filter(|(name, _)| name.starts_with("x-ms-"))
            .collect();
        for (name, value) in own {
            let _ = writeln!(text, "{name}:{value}");
        }
        let _ = write!(text, "/{}{}", self.account, request.url().path());
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in request.url().query_pairs() {
            query
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(value.into_owned());
        }
        for (name, mut values) in query {
            values.sort();
            let _ = write!(text, "\n{name}:{}", values.join(","));
        }
        text
    }
}

/// Compares this machine's clock with the service's, which all instances share.
#[derive(Debug)]
pub(super) struct ObserveDate(pub(super) Clock);

#[async_trait]
impl Policy for ObserveDate {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        let before_ms = self.0.own_ms();
        let answer = next[0].send(context, request, &next[1..]).await?;
        let date = answer
            .headers()
            .get_optional_str(&HeaderName::from_static("date"))
            .and_then(http_date);
        if let Some(date) = date {
            self.0.observe(date, before_ms, self.0.own_ms());
        }
        Ok(answer)
    }
}
