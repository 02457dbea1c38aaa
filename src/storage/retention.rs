//! What an account keeps of a blob that is deleted.

use super::Failure;
use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use azure_storage_blob::models::BlobClientGetPropertiesResultHeaders;
use azure_storage_blob::{BlobClient, BlobServiceClient};

/// What is kept, as far as the account tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days for which a deleted blob can be brought back, 0 for none; nothing when the account does not tell us.
    pub soft_delete_days: Option<i32>,
    /// Whether a deleted blob stays as a version; nothing when that could not be seen.
    pub versions: Option<bool>,
}

impl Retention {
    /// Asks the service, and looks at `blob`, which must be there still. Never fails: what was refused is not known.
    ///
    /// The service's properties take a right of their own, which the roles for blobs do not have:
    /// <https://learn.microsoft.com/rest/api/storageservices/get-blob-service-properties>. They do not tell about
    /// versions; a blob does, by having one.
    pub(crate) async fn of(service: &BlobServiceClient, blob: &BlobClient) -> Self {
        Self {
            soft_delete_days: soft_delete_days(service).await,
            versions: versions(blob).await,
        }
    }
}

async fn soft_delete_days(service: &BlobServiceClient) -> Option<i32> {
    let properties = service.get_properties(None).await;
    let properties = properties.inspect_err(unless_refused).ok()?;
    let policy = properties.into_model().ok()?.delete_retention_policy;
    match policy {
        Some(policy) if policy.enabled == Some(true) => policy.days,
        _ => Some(0),
    }
}

async fn versions(blob: &BlobClient) -> Option<bool> {
    let properties = blob.get_properties(None).await;
    let properties = properties.inspect_err(unless_refused).ok()?;
    let version = properties.version_id().ok()?;
    Some(version.is_some())
}

/// A refusal is the usual case and needs no word.
fn unless_refused(error: &azure_core::Error) {
    let is_refusal = matches!(
        error.kind(),
        ErrorKind::HttpResponse {
            status: StatusCode::Forbidden,
            ..
        }
    );
    if !is_refusal {
        let may_pass = Failure::of(error) != Failure::Final;
        tracing::debug!(%error, may_pass, "what the account keeps of deleted blobs cannot be read");
    }
}
