//! Every setting: read once at start into one struct, complete and checked.
//!
//! A missing or odd value stops the program with one line that names the setting and what is allowed, never
//! the value. Nothing else in the program reads the environment.

mod secrets;
mod users;
mod values;

use crate::fetch_pages::{PAGE_SIZE_MAX, PAGES_MAX};
use crate::storage::Connection;
use crate::user::User;
use azure_core::http::Url;
use secrecy::SecretString;
use secrets::{SecretsDir, refuse_reference};
use values::{is_loopback, lastfm_url, rate, storage_name, truth, whole};

/// A setting that is missing or cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// What a command cannot do without.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
pub struct Needs {
    /// `LASTFM_API_KEY`
    pub key: bool,
    /// `LASTFM_USERS`
    pub users: bool,
    /// `AzureWebJobsStorage`
    pub host_storage: bool,
    /// An archive: a directory if one is named, otherwise storage.
    pub archive: bool,
}

/// Where the archive is.
#[derive(Clone, Debug)]
pub enum Target {
    /// Below a local directory.
    Directory(String),
    /// In a storage account.
    Azure {
        /// The setting that names the account.
        setting: &'static str,
        /// How to reach it.
        connection: Box<Connection>,
    },
}

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Settings {
    key: Option<SecretString>,
    secrets: SecretsDir,
    /// `LASTFM_USERS`
    pub users: Vec<User>,
    /// `LASTFM_API_URL`
    pub lastfm_url: Url,
    /// `LASTFM_REQUESTS_PER_SECOND`; 0 means no limit.
    pub requests_per_second: f64,
    /// `LASTFM_PAGE_SIZE`
    pub page_size: u32,
    /// `PAGES_PER_ITEM`
    pub pages_per_item: u32,
    /// `WORK_QUEUE`
    pub work_queue: String,
    /// `RECONCILE_QUEUE`
    pub reconcile_queue: String,
    /// `AzureWebJobsStorage`
    pub host_storage: Option<Connection>,
    /// `--archive`, `ARCHIVE_STORAGE` or `AzureWebJobsStorage`
    pub target: Target,
    /// `ARCHIVE_CONTAINER`
    pub archive_container: String,
    /// `CONTROL_CONTAINER`
    pub control_container: String,
    /// `STALE_AFTER_HOURS`
    pub stale_after_hours: u32,
    /// `INCLUDE_RAW`
    pub include_raw: bool,
}

impl Settings {
    /// Reads the settings through `lookup`, which gives the value of one variable. `directory` is `--archive`.
    pub fn read(
        needs: Needs,
        directory: Option<String>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Invalid> {
        let secrets = SecretsDir::from_settings(lookup)?;
        let lookup = &|name: &str| secrets.read(name).ok().flatten().or_else(|| lookup(name));
        for name in NAMES {
            secrets.read(name)?;
            let value = lookup(name).unwrap_or_default();
            if value.contains('\u{fffd}') {
                return invalid(&format!("`{name}` is not UTF-8"));
            }
            // A command that needs no key does not mind.
            if name != "LASTFM_API_KEY" {
                refuse_reference(name, &value)?;
            }
        }
        let text = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let key = text("LASTFM_API_KEY").map(SecretString::from);
        if needs.key {
            secrets.check_key(key.clone())?;
        }
        let lastfm_url = lastfm_url(text("LASTFM_API_URL"))?;
        let connection = |name: &str| Connection::from_settings(name, lookup).map_err(Invalid);
        let host_storage = connection("AzureWebJobsStorage")?;
        if needs.host_storage
            && host_storage
                .as_ref()
                .is_none_or(|storage| storage.queue.is_none())
        {
            return invalid(
                "`AzureWebJobsStorage` is missing or has no queue service: `UseDevelopmentStorage=true`, a connection \
                 string, `AzureWebJobsStorage__accountName`, or `AzureWebJobsStorage__blobServiceUri` and \
                 `AzureWebJobsStorage__queueServiceUri` are wanted",
            );
        }
        let settings = Self {
            requests_per_second: rate(
                text("LASTFM_REQUESTS_PER_SECOND"),
                is_loopback(&lastfm_url),
            )?,
            page_size: whole(
                "LASTFM_PAGE_SIZE",
                text("LASTFM_PAGE_SIZE"),
                200,
                PAGE_SIZE_MAX,
            )?,
            pages_per_item: whole("PAGES_PER_ITEM", text("PAGES_PER_ITEM"), 40, PAGES_MAX)?,
            work_queue: storage_name("WORK_QUEUE", text("WORK_QUEUE"), "page-ranges")?,
            reconcile_queue: storage_name(
                "RECONCILE_QUEUE",
                text("RECONCILE_QUEUE"),
                "reconciles",
            )?,
            archive_container: storage_name(
                "ARCHIVE_CONTAINER",
                text("ARCHIVE_CONTAINER"),
                "scrobbles",
            )?,
            control_container: storage_name(
                "CONTROL_CONTAINER",
                text("CONTROL_CONTAINER"),
                "control",
            )?,
            stale_after_hours: whole(
                "STALE_AFTER_HOURS",
                text("STALE_AFTER_HOURS"),
                26,
                HOURS_MAX,
            )?,
            include_raw: truth("INCLUDE_RAW", text("INCLUDE_RAW").as_deref())?,
            users: users::parse(&text("LASTFM_USERS").unwrap_or_default())?,
            key,
            target: target(
                needs,
                directory,
                connection("ARCHIVE_STORAGE")?,
                host_storage.as_ref(),
            )?,
            secrets: secrets.clone(),
            lastfm_url,
            host_storage,
        };
        if settings.reconcile_queue == settings.work_queue {
            return invalid("`RECONCILE_QUEUE` and `WORK_QUEUE` must be two queues");
        }
        if needs.users && settings.users.is_empty() {
            return invalid(
                "`LASTFM_USERS` is missing: user names separated by commas are wanted, each `name` or `name=Area/City`",
            );
        }
        Ok(settings)
    }

    /// The Last.fm key as it stands now: the file in `SECRETS_DIR` wins, so a rotated key needs no restart.
    pub fn lastfm_key(&self) -> Result<SecretString, Invalid> {
        let file = self.secrets.read("LASTFM_API_KEY")?;
        self.secrets
            .check_key(file.map(SecretString::from).or_else(|| self.key.clone()))
    }
}

/// Every setting that is read, for checks that concern them all.
const NAMES: [&str; 16] = [
    "LASTFM_API_KEY",
    "LASTFM_USERS",
    "LASTFM_API_URL",
    "LASTFM_REQUESTS_PER_SECOND",
    "LASTFM_PAGE_SIZE",
    "PAGES_PER_ITEM",
    "WORK_QUEUE",
    "RECONCILE_QUEUE",
    "AzureWebJobsStorage",
    "ARCHIVE_STORAGE",
    "ARCHIVE_CONTAINER",
    "CONTROL_CONTAINER",
    "ARCHIVE_DIR",
    "INCLUDE_RAW",
    "STALE_AFTER_HOURS",
    "SECRETS_DIR",
];

/// A year; longer than that nobody waits for a sync.
const HOURS_MAX: u32 = 24 * 365;

fn target(
    needs: Needs,
    directory: Option<String>,
    archive_storage: Option<Connection>,
    host_storage: Option<&Connection>,
) -> Result<Target, Invalid> {
    if let Some(directory) = directory.filter(|directory| !directory.trim().is_empty()) {
        return Ok(Target::Directory(directory));
    }
    let (setting, connection) = match (archive_storage, host_storage) {
        (Some(connection), _) => ("ARCHIVE_STORAGE", connection),
        (None, Some(connection)) => ("AzureWebJobsStorage", connection.clone()),
        (None, None) if needs.archive => {
            return invalid(
                "no archive is named: give a directory with `--archive DIR` or `ARCHIVE_DIR`, or storage with \
                 `ARCHIVE_STORAGE` or `AzureWebJobsStorage`",
            );
        }
        (None, None) => return Ok(Target::Directory(String::new())),
    };
    if needs.archive && connection.blob.is_none() {
        return invalid(&format!("`{setting}` has no blob service"));
    }
    Ok(Target::Azure {
        setting,
        connection: Box::new(connection),
    })
}

fn invalid<T>(message: &str) -> Result<T, Invalid> {
    Err(Invalid(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Settings, Invalid> {
        let needs = Needs {
            key: true,
            users: true,
            ..Needs::default()
        };
        let base = [("LASTFM_API_KEY", "k"), ("LASTFM_USERS", "rj")];
        Settings::read(needs, None, &|name| {
            let found = settings
                .iter()
                .chain(&base)
                .find(|(setting, _)| *setting == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[track_caller]
    fn refused(name: &str, value: &str, expect: &str) {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("`{name}`")) && error.contains(expect),
            "{error}"
        );
        assert!(
            value.trim().is_empty() || value.len() < 4 || !error.contains(value),
            "the value is told: {error}"
        );
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.page_size, settings.pages_per_item), (200, 40));
        assert!((settings.requests_per_second - 4.0).abs() < f64::EPSILON);
        assert_eq!(settings.work_queue, "page-ranges");
        assert_eq!(settings.reconcile_queue, "reconciles");
        assert_eq!(
            (
                settings.archive_container.as_str(),
                settings.control_container.as_str()
            ),
            ("scrobbles", "control")
        );
        assert_eq!(
            settings.lastfm_url.as_str(),
            "https://ws.audioscrobbler.com/2.0/"
        );
    }

    #[test]
    fn an_odd_value_is_refused_by_the_name_of_its_setting() {
        refused("LASTFM_API_KEY", " ", "is missing");
        refused(
            "LASTFM_API_KEY",
            "@Microsoft.KeyVault(SecretUri=https://v.example/secrets/s)",
            "not resolved",
        );
        for reference in [
            "@Microsoft.KeyVault(VaultName=v;SecretName=s)",
            " @microsoft.keyvault(SecretUri=https://v.example/secrets/s/1)",
        ] {
            for name in ["LASTFM_API_KEY", "AzureWebJobsStorage", "LASTFM_USERS"] {
                for cause in [
                    "not resolved",
                    "identity is not assigned",
                    "`Key Vault Secrets User`",
                    "network",
                ] {
                    refused(name, reference, cause);
                }
            }
        }
        refused("LASTFM_USERS", "", "is missing");
        refused("LASTFM_USERS", "rj,RJ", "twice");
        refused("LASTFM_USERS", "rj=Nowhere/Atlantis", "time zone");
        refused("LASTFM_USERS", "r j", "impossible user name");
        refused("LASTFM_API_URL", "http://example.org/2.0/", "https");
        refused("LASTFM_API_URL", "ftp://example.org/", "https");
        refused("LASTFM_REQUESTS_PER_SECOND", "5.01", "at most 5");
        refused("LASTFM_REQUESTS_PER_SECOND", "0", "above 0");
        refused("LASTFM_REQUESTS_PER_SECOND", "NaN", "above 0");
        refused("LASTFM_PAGE_SIZE", "1001", "1 to 1000");
        refused("PAGES_PER_ITEM", "0", "1 to 100");
        refused("WORK_QUEUE", "Pages", "a-z");
        refused("RECONCILE_QUEUE", "re_conciles", "a-z");
        refused("RECONCILE_QUEUE", "page-ranges", "two queues");
        refused("INCLUDE_RAW", "maybe", "`true` or `false`");
    }

    #[test]
    fn a_loopback_server_may_be_asked_at_any_rate() {
        for url in [
            "http://127.0.0.1:8090/2.0/",
            "http://localhost:1/",
            "http://[::1]:1/",
        ] {
            let settings =
                read(&[("LASTFM_API_URL", url), ("LASTFM_REQUESTS_PER_SECOND", "0")]).unwrap();
            assert!(settings.requests_per_second.abs() < f64::EPSILON);
        }
    }

    #[test]
    fn the_key_is_never_printed() {
        let settings = read(&[("LASTFM_API_KEY", "0123456789abcdef")]).unwrap();
        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
    }
}
