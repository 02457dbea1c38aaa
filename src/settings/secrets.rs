//! Settings that hold secrets: the directory with one file for each, and Key Vault references that stayed what they
//! are.

use super::{Invalid, invalid};
use secrecy::{ExposeSecret, SecretString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

/// No key and no connection string comes near.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// `SECRETS_DIR`: a file is named like its setting, and wins over the variable. Other names (`..data` of a mounted
/// volume) are never looked at, and what is no file is not there.
#[derive(Clone, Debug)]
pub(super) struct SecretsDir(Option<PathBuf>);

impl SecretsDir {
    pub(super) fn from_settings(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Invalid> {
        match lookup("SECRETS_DIR")
            .filter(|value| !value.trim().is_empty())
            .map(PathBuf::from)
        {
            // One that is not there yet is as good as an empty one: it is read again for each work item.
            Some(directory) if directory.exists() && !directory.is_dir() => {
                invalid("`SECRETS_DIR` is no directory")
            }
            directory => Ok(Self(directory)),
        }
    }

    /// The content of the file as it stands now, without the line feed at its end; nothing when there is no such file.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, Invalid> {
        let Some(directory) = &self.0 else {
            return Ok(None);
        };
        let mut content = Vec::new();
        let read = File::open(directory.join(name))
            .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_end(&mut content));
        match read {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {
                return Ok(None);
            }
            Err(error) => {
                return invalid(&format!(
                    "`{name}` cannot be read from its file in `SECRETS_DIR`: {error}"
                ));
            }
        }
        match String::from_utf8(content) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(_) => invalid(&format!("`{name}` is not UTF-8")),
        }
    }

    /// The key, unless there is none or it is a reference.
    pub(super) fn check_key(&self, key: Option<SecretString>) -> Result<SecretString, Invalid> {
        let Some(key) = key.filter(|key| !key.expose_secret().trim().is_empty()) else {
            return invalid(match &self.0 {
                Some(directory) if !directory.exists() => {
                    "`LASTFM_API_KEY` is missing, and the directory that `SECRETS_DIR` names does not exist"
                }
                _ => "`LASTFM_API_KEY` is missing: get a key at last.fm/api/account/create",
            });
        };
        refuse_reference("LASTFM_API_KEY", key.expose_secret())?;
        Ok(key)
    }
}

/// The platform puts the secret in place of a reference before the program starts; if it cannot, it leaves the text.
/// <https://learn.microsoft.com/azure/app-service/app-service-key-vault-references>
pub(super) fn refuse_reference(name: &str, value: &str) -> Result<(), Invalid> {
    // So begin both syntaxes, `SecretUri=` and `VaultName=`.
    const START: &str = "@Microsoft.KeyVault(";
    let start = value.trim_start().get(..START.len());
    if start.is_some_and(|start| start.eq_ignore_ascii_case(START)) {
        return invalid(&format!(
            "`{name}` is a Key Vault reference that was not resolved: either the app's identity is not assigned \
             (`keyVaultReferenceIdentity`), or it lacks the role `Key Vault Secrets User`, or the vault's network refuses \
             the app"
        ));
    }
    Ok(())
}
