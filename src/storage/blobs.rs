//! Blobs by their names, whatever is in them.

use super::is_code;
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobContainerClientListBlobsOptions, DeleteSnapshotsOptionType,
};
use futures::TryStreamExt;

/// What a listing tells of a blob.
pub(crate) struct Listed {
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// When it last changed, in milliseconds since 1970 by the service's clock.
    pub(crate) modified_ms: Option<i64>,
}

/// Every blob whose name starts with `prefix`, in the order of their names; none when there is no container.
pub(crate) async fn blobs_below(
    container: &BlobContainerClient,
    prefix: String,
) -> azure_core::Result<Vec<Listed>> {
    let options = BlobContainerClientListBlobsOptions {
        prefix: Some(prefix),
        ..Default::default()
    };
    let mut blobs = Vec::new();
    let mut items = container.list_blobs(Some(options))?;
    loop {
        match items.try_next().await {
            Ok(Some(blob)) => {
                let properties = blob.properties.unwrap_or_default();
                if let (Some(name), Some(length)) = (blob.name, properties.content_length) {
                    let modified = properties.last_modified;
                    blobs.push(Listed {
                        name,
                        length,
                        modified_ms: modified.map(|moment| moment.unix_timestamp() * 1_000),
                    });
                }
            }
            Ok(None) => return Ok(blobs),
            // It is made with the first blob.
            Err(error) if is_code(&error, "ContainerNotFound") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}

/// Deletes a blob with its snapshots; one that is not there is deleted.
pub(crate) async fn delete_blob(
    container: &BlobContainerClient,
    name: &str,
) -> azure_core::Result<()> {
    let options = BlobClientDeleteOptions {
        delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
        ..Default::default()
    };
    match container.blob_client(name).delete(Some(options)).await {
        Err(error) if !is_code(&error, "BlobNotFound") && !is_code(&error, "ContainerNotFound") => {
            Err(error)
        }
        // Gone by another's hand, or by an attempt whose answer was lost.
        _ => Ok(()),
    }
}
