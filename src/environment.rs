//! What every command and trigger shares, made once from the settings.

use crate::archive::{Access, AppendBlobs, Archive, Directory};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::fetch_pages::BLOCK_BYTES_MAX;
use crate::lastfm::LastFm;
use crate::queue::WorkQueue;
use crate::settings::{Settings, Target};
use crate::status::Store;
use crate::storage::{BlobClients, Connection};
use crate::user::{User, UserName};
use azure_core::http::HttpClient;
use jiff::tz::TimeZone;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::SetOnce;

/// Tells running work to stop at the next safe moment: between two appends.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<SetOnce<()>>);

impl Stop {
    /// Asks everybody to stop.
    pub fn request(&self) {
        // Asked twice is asked.
        let _ = self.0.set(());
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.0.initialized()
    }

    /// Returns once somebody has asked.
    pub async fn requested(&self) {
        self.0.wait().await;
    }
}

/// The clients and limits that work needs.
pub struct Environment {
    /// The settings of this process.
    pub settings: Settings,
    /// The time of day.
    pub clock: Clock,
    /// Where the plays are kept.
    pub archive: Archive,
    /// The rate to Last.fm.
    pub budget: Budget,
    /// What people want to know of each user.
    pub status: Store,
    /// Largest block; lowered by tests only.
    pub block_bytes_max: usize,
    /// Set when the process is told to end.
    pub stop: Stop,
    http: Arc<dyn HttpClient>,
}

impl Environment {
    /// Clients for the settings' target. `access` matters for a directory only.
    pub fn new(
        settings: Settings,
        access: Access,
        http: Arc<dyn HttpClient>,
        clock: Clock,
        stop: Stop,
    ) -> anyhow::Result<Self> {
        let rate = settings.requests_per_second;
        let (archive, budget, status) = match &settings.target {
            Target::Directory(directory) => {
                let directory = Directory::open(Path::new(directory), access)?;
                let status = Store::Directory(directory.root().to_owned());
                (
                    Archive::Directory(directory),
                    Budget::in_memory(rate, clock.clone()),
                    status,
                )
            }
            Target::Azure {
                setting,
                connection,
            } => {
                let clients = BlobClients::new(setting, connection, &http, &clock)?;
                let blobs = AppendBlobs::new(&clients, &settings.archive_container);
                let budget =
                    Budget::in_blob(rate, clock.clone(), &clients, &settings.control_container);
                let status = Store::azure(&clients, &settings.control_container);
                (Archive::Azure(Box::new(blobs)), budget, status)
            }
        };
        Ok(Self {
            settings,
            clock,
            archive,
            budget,
            status,
            block_bytes_max: BLOCK_BYTES_MAX,
            stop,
            http,
        })
    }

    /// The queue of work items in the host's storage.
    pub fn work_queue(&self, host_storage: &Connection) -> anyhow::Result<WorkQueue> {
        self.queue(host_storage, &self.settings.work_queue)
    }

    /// The queue of reconciles in the host's storage.
    pub fn reconcile_queue(&self, host_storage: &Connection) -> anyhow::Result<WorkQueue> {
        self.queue(host_storage, &self.settings.reconcile_queue)
    }

    fn queue(&self, host_storage: &Connection, name: &str) -> anyhow::Result<WorkQueue> {
        WorkQueue::new(host_storage, name, &self.http, &self.clock)
    }

    /// A Last.fm client with the key as it stands now.
    pub fn lastfm(&self) -> anyhow::Result<LastFm> {
        let key = self.settings.lastfm_key()?;
        Ok(LastFm::new(
            self.http.clone(),
            self.settings.lastfm_url.clone(),
            key,
            self.settings.include_raw,
        ))
    }

    /// The user of that name with their own time zone; UTC for somebody whom the settings do not name.
    pub fn user(&self, name: &UserName) -> User {
        let known = self.settings.users.iter().find(|user| user.name == *name);
        known.cloned().unwrap_or_else(|| User {
            name: name.clone(),
            time_zone: TimeZone::UTC,
        })
    }
}
