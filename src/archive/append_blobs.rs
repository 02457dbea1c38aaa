//! The archive in Azure append blobs.
//!
//! Every append names the position at which it must land. A lost acknowledgement is settled by reading back
//! what stands there; the SDK's own retries are off for this call, because they turn a lost acknowledgement
//! into a refusal of what had landed.

use super::{Appended, DataFile, DataName, Place};
use crate::storage::{BlobClients, Failure, Listed, address_of, blobs_below, is_code, pause_after};
use crate::user::UserName;
use anyhow::Context;
use azure_storage_blob::models::{
    AppendBlobClientAppendBlockOptions, AppendBlobClientCreateOptions, BlobClientDownloadOptions,
    BlobClientGetPropertiesResultHeaders,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobServiceClient};
use bytes::Bytes;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Attempts for one append, lost acknowledgements included. The pauses between them are about 8 s; an invocation's
/// own limit bounds a service that does not answer.
const ATTEMPTS_MAX: u32 = 6;
/// First pause between attempts; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between attempts, also when the service asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// An archive in one container.
pub struct AppendBlobs {
    pub(super) container: BlobContainerClient,
    /// The same container through a client that never retries.
    once: BlobContainerClient,
    pub(super) service: Arc<BlobServiceClient>,
}

impl std::fmt::Debug for AppendBlobs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("AppendBlobs")
            .field(&self.address())
            .finish()
    }
}

impl AppendBlobs {
    /// The archive in `container` of an account.
    pub fn new(clients: &BlobClients, container: &str) -> Self {
        Self {
            container: clients.retrying.blob_container_client(container),
            once: clients.once.blob_container_client(container),
            service: Arc::clone(&clients.retrying),
        }
    }

    /// The container's address without its query, which may hold a signature.
    pub fn address(&self) -> String {
        address_of(&self.container)
    }

    /// The user's files below `prefix`.
    pub(super) async fn list(
        &self,
        user: &UserName,
        prefix: String,
    ) -> anyhow::Result<Vec<DataFile>> {
        let blobs = blobs_below(&self.container, prefix).await?;
        let file = |blob: Listed| {
            Some(DataFile {
                name: DataName::parse(user, &blob.name)?,
                length: blob.length,
                modified_ms: blob.modified_ms,
            })
        };
        Ok(blobs.into_iter().filter_map(file).collect())
    }

    pub(super) async fn read(&self, name: &DataName, range: Range<u64>) -> anyhow::Result<Bytes> {
        read(&self.container.blob_client(&name.to_string()), range).await
    }

    pub(super) async fn append(&self, place: &Place, block: &Bytes) -> anyhow::Result<Appended> {
        let path = place.name.to_string();
        let blob = self.container.blob_client(&path);
        if place.position == 0 {
            self.create(&blob).await?;
        }
        let once = self.once.blob_client(&path).append_blob_client();
        let position = i64::try_from(place.position).context("the position is beyond any blob")?;
        let mut ambiguous = false;
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            let options = AppendBlobClientAppendBlockOptions {
                append_position: Some(position),
                ..Default::default()
            };
            let sent = once.append_block(block.clone().into(), block.len() as u64, Some(options));
            let Err(error) = sent.await else {
                return Ok(Appended::Landed);
            };
            let moved = is_code(&error, "AppendPositionConditionNotMet");
            // A full blob is refused for its block count before its position.
            let full = is_code(&error, "BlockCountExceedsLimit");
            if moved || full {
                // After an unanswered attempt the refusal may be the echo of our own success.
                if ambiguous && let Some(settled) = settle(&blob, place.position, block).await? {
                    return Ok(settled);
                }
                // A full blob that is longer than expected has been appended to by somebody else.
                let ready = full && length(&blob).await? == place.position;
                return Ok(if ready {
                    Appended::Full
                } else {
                    Appended::Stale
                });
            }
            let failure = Failure::of(&error);
            if failure == Failure::Final {
                return Err(error.into());
            }
            tracing::debug!(%path, attempt, %error, "an append was not acknowledged");
            if failure == Failure::MayHaveHappened {
                ambiguous = true;
                if let Some(settled) = settle(&blob, place.position, block).await? {
                    return Ok(settled);
                }
            }
            if attempt == ATTEMPTS_MAX {
                return Err(error.into());
            }
            tokio::time::sleep(pause_after(&error, pause).min(PAUSE_MAX)).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// Makes the blob unless it exists; never without that condition, which would empty it. Makes the
    /// container after a 404 (on Azure the infrastructure has made it).
    async fn create(&self, blob: &BlobClient) -> anyhow::Result<()> {
        for made_container in [false, true] {
            let options = AppendBlobClientCreateOptions {
                blob_content_type: Some("application/x-ndjson".to_owned()),
                ..Default::default()
            };
            match blob
                .append_blob_client()
                .create(Some(options.if_not_exists()))
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) if is_code(&error, "BlobAlreadyExists") => return Ok(()),
                Err(error) if is_code(&error, "ContainerNotFound") && !made_container => {
                    crate::storage::make_container(&self.container).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// What stands at `position`: our block, something else, or nothing (then it is safe to send it again).
async fn settle(
    blob: &BlobClient,
    position: u64,
    block: &Bytes,
) -> anyhow::Result<Option<Appended>> {
    let length = length(blob).await?;
    if length <= position {
        return Ok(None);
    }
    let end = position + block.len() as u64;
    let ours = length >= end && read(blob, position..end).await? == *block;
    Ok(Some(if ours {
        Appended::Landed
    } else {
        Appended::Stale
    }))
}

async fn length(blob: &BlobClient) -> anyhow::Result<u64> {
    blob.get_properties(None)
        .await?
        .content_length()?
        .context("the service tells no length")
}

/// One ranged request. The SDK's default splits at 4 MiB and fails when the blob grows in between.
async fn read(blob: &BlobClient, range: Range<u64>) -> anyhow::Result<Bytes> {
    let size = usize::try_from(range.end - range.start)?;
    let options = BlobClientDownloadOptions {
        range: Some(range.into()),
        partition_size: NonZero::new(size),
        ..Default::default()
    };
    Ok(blob.download(Some(options)).await?.body.collect().await?)
}
