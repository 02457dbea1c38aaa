//! The budget's number in a small blob, replaced under `If-Match`.

use crate::storage::{Service, address_of, explained, is_code, make_container};
use anyhow::{Context, bail};
use azure_core::http::{Etag, RequestContent};
use azure_storage_blob::models::BlobClientUploadOptions;
use azure_storage_blob::{BlobClient, BlobContainerClient};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a lost race for the blob is run again. Each loser pauses a little longer than the round before.
const RACES_MAX: u32 = 30;

const BLOB_NAME: &str = "budget.json";

/// The blob and the container that is made for it.
pub(super) struct BudgetBlob {
    container: BlobContainerClient,
    blob: BlobClient,
}

#[derive(Deserialize, Serialize)]
struct Document {
    free_at_ms: i64,
}

impl BudgetBlob {
    /// The budget in this container.
    pub(super) fn new(container: BlobContainerClient) -> Self {
        let blob = container.blob_client(BLOB_NAME);
        Self { container, blob }
    }

    /// Reads the number, replaces it by what `advance` makes of it, and runs a lost race again.
    pub(super) async fn update<T, E>(
        &self,
        advance: impl Fn(i64) -> Result<(i64, T), E>,
    ) -> anyhow::Result<Result<T, E>> {
        self.race(advance).await.map_err(|error| self.failed(error))
    }

    async fn race<T, E>(
        &self,
        advance: impl Fn(i64) -> Result<(i64, T), E>,
    ) -> anyhow::Result<Result<T, E>> {
        for race in 0..RACES_MAX {
            let (free_at_ms, etag) = self.download().await?;
            let (next, result) = match advance(free_at_ms) {
                Ok(next) => next,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if self.replace(next, etag).await? {
                return Ok(Ok(result));
            }
            let pause_ms = fastrand::u64(0..20 * u64::from(race + 1));
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
        bail!("{RACES_MAX} attempts met another writer of `{BLOB_NAME}`")
    }

    /// The number; 0 when there is none yet.
    pub(super) async fn read(&self) -> anyhow::Result<i64> {
        let (free_at_ms, _) = self.download().await.map_err(|error| self.failed(error))?;
        Ok(free_at_ms)
    }

    fn failed(&self, error: anyhow::Error) -> anyhow::Error {
        let address = address_of(&self.container);
        explained(error, Service::Blobs)
            .context(format!("cannot use `{BLOB_NAME}` in container `{address}`"))
    }

    /// The number, and what it takes to replace it.
    async fn download(&self) -> anyhow::Result<(i64, Option<Etag>)> {
        let answer = match self.blob.download(None).await {
            Ok(answer) => answer,
            Err(error) if is_code(&error, "BlobNotFound") => return Ok((0, None)),
            Err(error) if is_code(&error, "ContainerNotFound") => {
                make_container(&self.container).await?;
                return Ok((0, None));
            }
            Err(error) => return Err(error.into()),
        };
        let etag = answer
            .properties
            .etag
            .clone()
            .context("the budget has no ETag")?;
        let text = answer.body.collect().await?;
        let free_at_ms = match serde_json::from_slice::<Document>(&text) {
            Ok(document) => document.free_at_ms,
            Err(error) => {
                tracing::warn!(%error, "`{BLOB_NAME}` is not readable and is written anew");
                0
            }
        };
        Ok((free_at_ms, Some(etag)))
    }

    /// False when another writer was first.
    async fn replace(&self, free_at_ms: i64, etag: Option<Etag>) -> anyhow::Result<bool> {
        let text = serde_json::to_vec(&Document { free_at_ms })?;
        let options = BlobClientUploadOptions {
            blob_content_type: Some("application/json".to_owned()),
            if_none_match: etag.is_none().then(|| "*".into()),
            if_match: etag,
            ..Default::default()
        };
        match self
            .blob
            .upload(RequestContent::from(text), Some(options))
            .await
        {
            Ok(_) => Ok(true),
            Err(error)
                if is_code(&error, "ConditionNotMet") || is_code(&error, "BlobAlreadyExists") =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
