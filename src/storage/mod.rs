//! Azure storage clients, made from a connection setting: the same code for the cloud and for Azurite.

mod blobs;
mod connection;
mod identity;
mod policies;
mod refusal;
mod retention;
mod tokens;

pub(crate) use blobs::{Listed, blobs_below, delete_blob};
pub use connection::{Access, Connection};
pub(crate) use refusal::{Service, explained};
pub use retention::Retention;

use crate::clock::Clock;
use anyhow::Context;
use azure_core::error::ErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::policies::Policy;
use azure_core::http::{
    ClientOptions, ExponentialRetryOptions, HttpClient, RetryOptions, StatusCode, Transport,
    UserAgentOptions,
};
use azure_storage_blob::{BlobContainerClient, BlobServiceClient, BlobServiceClientOptions};
use azure_storage_queue::{QueueServiceClient, QueueServiceClientOptions};
use std::sync::Arc;
use std::time::Duration;

/// How the SDK retries what may be sent twice. Its defaults go on for over a minute, longer than an invocation
/// may take.
const RETRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const RETRY_TIME_MAX: Duration = Duration::from_secs(20);

/// Clients of the blob service of one storage account.
#[derive(Clone)]
pub struct BlobClients {
    /// With a few retries.
    pub(crate) retrying: Arc<BlobServiceClient>,
    /// Every call is sent once.
    pub(crate) once: Arc<BlobServiceClient>,
}

impl BlobClients {
    /// Clients for `connection`, the value of the setting `name`, over `http`; `clock` learns from the answers.
    pub fn new(
        name: &str,
        connection: &Connection,
        http: &Arc<dyn HttpClient>,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let address = connection.blob.clone();
        let address =
            address.with_context(|| format!("`{name}` has no address of a blob service"))?;
        let credential = identity::credential(name, &connection.access, http)?;
        let client = |retry| {
            let client_options = client_options(&connection.access, http, clock, retry);
            let options = BlobServiceClientOptions {
                client_options,
                ..Default::default()
            };
            BlobServiceClient::new(address.clone(), credential.clone(), Some(options)).map(Arc::new)
        };
        Ok(Self {
            retrying: client(retry_options())?,
            once: client(RetryOptions::none())?,
        })
    }
}

/// A client of the queue service of one storage account, with a few retries.
pub fn queue_client(
    name: &str,
    connection: &Connection,
    http: &Arc<dyn HttpClient>,
    clock: &Clock,
) -> anyhow::Result<QueueServiceClient> {
    let address = connection.queue.clone();
    let address = address.with_context(|| format!("`{name}` has no address of a queue service"))?;
    let client_options = client_options(&connection.access, http, clock, retry_options());
    let options = QueueServiceClientOptions {
        client_options,
        ..Default::default()
    };
    let credential = identity::credential(name, &connection.access, http)?;
    Ok(QueueServiceClient::new(address, credential, Some(options))?)
}

fn retry_options() -> RetryOptions {
    RetryOptions::exponential(ExponentialRetryOptions {
        initial_delay: FIRST_PAUSE.try_into().unwrap_or_default(),
        max_retries: RETRIES,
        max_total_elapsed: RETRY_TIME_MAX.try_into().unwrap_or_default(),
        max_delay: PAUSE_MAX.try_into().unwrap_or_default(),
    })
}

fn client_options(
    access: &Access,
    http: &Arc<dyn HttpClient>,
    clock: &Clock,
    retry: RetryOptions,
) -> ClientOptions {
    let mut policies: Vec<Arc<dyn Policy>> = vec![Arc::new(policies::ObserveDate(clock.clone()))];
    if let Access::AccountKey { account, key } = access {
        policies.push(Arc::new(policies::SharedKey {
            account: account.clone(),
            key: key.clone(),
            clock: clock.clone(),
        }));
    }
    ClientOptions {
        per_try_policies: policies,
        retry,
        transport: Some(Transport::new(http.clone())),
        user_agent: UserAgentOptions {
            application_id: Some("lastfm-archive".to_owned()),
        },
        ..Default::default()
    }
}

/// A container's address without its query, which may hold a signature.
pub(crate) fn address_of(container: &BlobContainerClient) -> String {
    let mut address = container.url().clone();
    address.set_query(None);
    address.to_string()
}

/// Makes a container; one that exists is success.
pub(crate) async fn make_container(container: &BlobContainerClient) -> azure_core::Result<()> {
    match container.create(None).await {
        Err(error) if !is_code(&error, "ContainerAlreadyExists") => Err(error),
        _ => Ok(()),
    }
}

/// Whether the service refused with this code.
pub(crate) fn is_code(error: &azure_core::Error, code: &str) -> bool {
    matches!(error.kind(), ErrorKind::HttpResponse { error_code: Some(found), .. } if found == code)
}

/// What an error says about the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was never sent: it is always safe to send it again.
    NeverSent,
    /// It may have been carried out.
    MayHaveHappened,
    /// Sending it again changes nothing.
    Final,
}

impl Failure {
    pub(crate) fn of(error: &azure_core::Error) -> Self {
        match error.kind() {
            ErrorKind::Connection => Self::NeverSent,
            ErrorKind::Io => Self::MayHaveHappened,
            ErrorKind::HttpResponse { status, .. } => match status {
                StatusCode::RequestTimeout | StatusCode::TooManyRequests => Self::MayHaveHappened,
                status if status.is_server_error() => Self::MayHaveHappened,
                _ => Self::Final,
            },
            _ => Self::Final,
        }
    }
}

/// How long to wait after a failure: as long as the service asks for, else `pause` give or take a half.
pub(crate) fn pause_after(error: &azure_core::Error, pause: Duration) -> Duration {
    let asked = match error.kind() {
        ErrorKind::HttpResponse {
            raw_response: Some(answer),
            ..
        } => answer
            .headers()
            .get_optional_str(&HeaderName::from_static("retry-after"))
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs),
        _ => None,
    };
    asked.unwrap_or_else(|| pause.mul_f64(0.5 + fastrand::f64()))
}
