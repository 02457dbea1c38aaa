//! The one HTTP client: for Last.fm, blobs, queues and tokens alike. Tests replace it, and nothing else.

use async_trait::async_trait;
use azure_core::Error;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures::TryStreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Longest time to connect to any service.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest time for one attempt of any request, body included.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(30);

/// A client over the network.
pub fn client() -> anyhow::Result<Arc<dyn HttpClient>> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(ATTEMPT_TIME_MAX)
        // A redirect would carry the key to wherever it points.
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(Arc::new(WithoutUrls(client)))
}

/// reqwest, with the URL taken out of every error: Last.fm's holds the key, a storage one may hold a signature.
#[derive(Debug)]
struct WithoutUrls(reqwest::Client);

#[async_trait]
impl HttpClient for WithoutUrls {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await.map_err(without_url)?;
        let (status, headers, body) = answer.deconstruct();
        Ok(AsyncRawResponse::new(
            status,
            headers,
            Box::pin(body.map_err(without_url)),
        ))
    }
}

fn without_url(error: Error) -> Error {
    let kind = error.kind().clone();
    let message = match kind {
        azure_core::error::ErrorKind::Connection => "no connection",
        _ => "the connection broke",
    };
    let cause = match error.into_inner() {
        Ok(cause) => cause,
        Err(error) => return error,
    };
    match cause.downcast::<reqwest::Error>() {
        Ok(cause) => Error::with_error(kind, cause.without_url(), message),
        Err(cause) => Error::with_error(kind, cause, message),
    }
}
