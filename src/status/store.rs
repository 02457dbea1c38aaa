//! Where the documents lie: `status/<user>.json` in the control container, or below the directory of the archive.

use super::document::Document;
use crate::archive::UserFile;
use crate::storage::{
    BlobClients, Listed, Retention, Service, address_of, blobs_below, delete_blob, explained,
    is_code, make_container,
};
use crate::user::UserName;
use anyhow::{Context, bail};
use azure_core::http::{Etag, RequestContent};
use azure_storage_blob::models::BlobClientUploadOptions;
use azure_storage_blob::{BlobContainerClient, BlobServiceClient};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of the documents.
const FOLDER: &str = "status";

/// The documents of an archive.
pub enum Store {
    /// Block blobs.
    Azure {
        /// Of the budget and the documents.
        container: BlobContainerClient,
        /// Its account.
        service: Arc<BlobServiceClient>,
    },
    /// Files below this directory.
    Directory(PathBuf),
}

/// What stands in the place of a document.
#[derive(Default)]
pub(super) struct Found {
    /// The document, if it can be read.
    pub(super) document: Option<Document>,
    /// What it takes to replace it. Nothing in a directory, which one process at a time writes to.
    version: Option<Etag>,
}

impl Store {
    /// The documents in the container `control` of an account.
    pub(crate) fn azure(clients: &BlobClients, control: &str) -> Self {
        Self::Azure {
            container: clients.retrying.blob_container_client(control),
            service: Arc::clone(&clients.retrying),
        }
    }

    /// The document of `user`; nothing when there is none, or none that can be read.
    pub async fn read(&self, user: &UserName) -> anyhow::Result<Option<Document>> {
        let found = self.find(user).await;
        let found = found.with_context(|| format!("cannot read {}", self.in_words(user)))?;
        Ok(found.document)
    }

    pub(super) async fn find(&self, user: &UserName) -> anyhow::Result<Found> {
        match self {
            Self::Azure { container, .. } => download(container, user).await.map_err(refused),
            Self::Directory(root) => {
                let document = match fs::read(root.join(name(user))) {
                    Ok(text) => parse(user, &text),
                    Err(error) if is_nothing(&error) => None,
                    Err(error) => return Err(error.into()),
                };
                Ok(Found {
                    document,
                    version: None,
                })
            }
        }
    }

    /// Puts the document in the place of what was found. False when another writer was first.
    pub(super) async fn replace(
        &self,
        user: &UserName,
        found: &Found,
        document: &Document,
    ) -> anyhow::Result<bool> {
        let text = serde_json::to_vec(document)?;
        match self {
            Self::Azure { container, .. } => {
                upload(container, user, found, text).await.map_err(refused)
            }
            Self::Directory(root) => {
                let (file, draft) = (root.join(name(user)), root.join(draft(user)));
                fs::create_dir_all(root.join(FOLDER))?;
                // Whoever looks sees the old one or the new one, and never half of it. It is not synced: after a power
                // cut an unreadable one is written anew.
                fs::write(&draft, text)?;
                fs::rename(draft, file)?;
                Ok(true)
            }
        }
    }

    /// The files of `user`: the document, and what a crash may have left of the next one.
    pub async fn files(&self, user: &UserName) -> anyhow::Result<Vec<UserFile>> {
        let files = match self {
            Self::Azure { container, .. } => in_container(container, user).await.map_err(refused),
            Self::Directory(root) => [name(user), draft(user)]
                .iter()
                .filter_map(|name| in_directory(root, name).transpose())
                .collect(),
        };
        files.with_context(|| format!("cannot look for {}", self.in_words(user)))
    }

    /// Deletes one of [`Store::files`]; one that is gone is deleted.
    pub async fn delete(&self, file: &UserFile) -> anyhow::Result<()> {
        match self {
            Self::Azure { container, .. } => delete_blob(container, file.blob()?)
                .await
                .map_err(|error| refused(error.into())),
            Self::Directory(root) => {
                match fs::remove_file(root.join(&file.name)) {
                    Err(error) if !is_nothing(&error) => return Err(error.into()),
                    _ => {}
                }
                // Others' documents keep it.
                let _ = fs::remove_dir(root.join(FOLDER));
                Ok(())
            }
        }
    }

    /// What the account keeps of a document that is deleted. Nothing for a directory, which keeps nothing.
    pub async fn retention(&self, file: &UserFile) -> Option<Retention> {
        match self {
            Self::Azure { container, service } => {
                let blob = container.blob_client(file.blob().ok()?);
                Some(Retention::of(service, &blob).await)
            }
            Self::Directory(_) => None,
        }
    }

    /// The store in words, without any secret.
    pub fn place(&self) -> String {
        match self {
            Self::Azure { container, .. } => format!("container `{}`", address_of(container)),
            Self::Directory(root) => format!("directory `{}`", root.display()),
        }
    }

    fn in_words(&self, user: &UserName) -> String {
        format!("`{}` in {}", name(user), self.place())
    }
}

fn name(user: &UserName) -> String {
    format!("{FOLDER}/{user}.json")
}

/// No user's name has a full stop, so it is nobody's document.
fn draft(user: &UserName) -> String {
    format!("{FOLDER}/{user}.json.new")
}

fn refused(error: anyhow::Error) -> anyhow::Error {
    explained(error, Service::Blobs)
}

fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn parse(user: &UserName, text: &[u8]) -> Option<Document> {
    match serde_json::from_slice(text) {
        Ok(document) => Some(document),
        Err(error) => {
            tracing::debug!(%user, %error, "a status document is not readable");
            None
        }
    }
}

async fn download(container: &BlobContainerClient, user: &UserName) -> anyhow::Result<Found> {
    let answer = match container.blob_client(&name(user)).download(None).await {
        Ok(answer) => answer,
        Err(error) if is_code(&error, "BlobNotFound") || is_code(&error, "ContainerNotFound") => {
            return Ok(Found::default());
        }
        Err(error) => return Err(error.into()),
    };
    let version = answer.properties.etag.clone();
    let version = version.context("the document has no ETag")?;
    let text = answer.body.collect().await?;
    Ok(Found {
        document: parse(user, &text),
        version: Some(version),
    })
}

async fn upload(
    container: &BlobContainerClient,
    user: &UserName,
    found: &Found,
    text: Vec<u8>,
) -> anyhow::Result<bool> {
    for made_container in [false, true] {
        let options = BlobClientUploadOptions {
            blob_content_type: Some("application/json".to_owned()),
            if_none_match: found.version.is_none().then(|| "*".into()),
            if_match: found.version.clone(),
            ..Default::default()
        };
        let content = RequestContent::from(text.clone());
        match container
            .blob_client(&name(user))
            .upload(content, Some(options))
            .await
        {
            Ok(_) => return Ok(true),
            Err(error)
                if is_code(&error, "ConditionNotMet") || is_code(&error, "BlobAlreadyExists") =>
            {
                return Ok(false);
            }
            Err(error) if is_code(&error, "ContainerNotFound") && !made_container => {
                make_container(container).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

async fn in_container(
    container: &BlobContainerClient,
    user: &UserName,
) -> anyhow::Result<Vec<UserFile>> {
    // Every document whose name begins so, and of these the one.
    let blobs = blobs_below(container, name(user)).await?;
    let files = blobs.into_iter().filter(|blob| blob.name == name(user));
    let file = |blob: Listed| UserFile {
        name: blob.name.into(),
        bytes: blob.length,
    };
    Ok(files.map(file).collect())
}

fn in_directory(root: &Path, name: &str) -> anyhow::Result<Option<UserFile>> {
    // A link to another folder leads out of the archive.
    match fs::symlink_metadata(root.join(FOLDER)) {
        Ok(folder) if folder.is_symlink() => bail!("`{FOLDER}` is a link to another place"),
        Ok(_) => {}
        Err(error) if is_nothing(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match fs::symlink_metadata(root.join(name)) {
        Ok(found) => Ok(Some(UserFile {
            name: name.into(),
            bytes: found.len(),
        })),
        Err(error) if is_nothing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
