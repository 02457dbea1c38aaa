//! Azurite, Microsoft's storage emulator, run in memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use serde::Deserialize;

use super::npm;
use super::storage::{Container, Queue};

/// The account that every Azurite has, and its published key.
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite. It ends when this value or the test process does, however that happens: it watches its standard input.
pub(crate) struct Azurite {
    child: Child,
    endpoints: Endpoints,
    http: reqwest::Client,
}

/// What the script prints: where the services listen, without the account.
#[derive(Deserialize)]
struct Endpoints {
    blob: String,
    queue: String,
}

impl Azurite {
    /// The Azurite that all tests of this process share; each test uses names of its own, from [`unique_name`].
    pub(crate) fn start() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_with(&[]))
    }

    /// An Azurite of one's own with further arguments, for example `--oauth basic --cert FILE --key FILE`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let mut child = npm::script("azurite.mjs")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect(npm::NODE_MISSING);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let endpoints: Endpoints = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("Azurite did not start, its reason stands above (it printed `{line}`)")
        });
        // No idle connections: they would belong to the runtime of one test and be offered to another.
        let http = crate::support::http::client()
            .pool_max_idle_per_host(0)
            .tls_danger_accept_invalid_certs(endpoints.blob.starts_with("https"))
            .build()
            .unwrap();
        Self {
            child,
            endpoints,
            http,
        }
    }

    /// The setting `AzureWebJobsStorage` in its full form, with the account's key.
    pub(crate) fn connection_string(&self) -> String {
        let protocol = self.endpoints.blob.split(':').next().unwrap();
        format!(
            "DefaultEndpointsProtocol={protocol};{};",
            connection_string(&self.blob_endpoint(), &self.queue_endpoint())
        )
    }

    /// The same as a connection string with a shared access signature.
    pub(crate) fn connection_string_with_sas(&self) -> String {
        format!(
            "BlobEndpoint={};QueueEndpoint={};SharedAccessSignature={}",
            self.blob_endpoint(),
            self.queue_endpoint(),
            account_sas(),
        )
    }

    /// Address of the blob service, with the account and no final slash.
    pub(crate) fn blob_endpoint(&self) -> String {
        format!("{}/{ACCOUNT}", self.endpoints.blob)
    }

    /// Address of the queue service, with the account and no final slash.
    pub(crate) fn queue_endpoint(&self) -> String {
        format!("{}/{ACCOUNT}", self.endpoints.queue)
    }

    /// A handle for a container, which need not exist yet.
    pub(crate) fn container(&self, name: &str) -> Container {
        Container::new(
            self.http.clone(),
            &self.blob_endpoint(),
            name,
            &account_sas(),
        )
    }

    /// A handle for a queue, which need not exist yet.
    pub(crate) fn queue(&self, name: &str) -> Queue {
        Queue::new(
            self.http.clone(),
            &self.queue_endpoint(),
            name,
            &account_sas(),
        )
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // Closing its input would do; waiting as well leaves no zombie.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connection string with the account's key for services at these addresses.
pub(crate) fn connection_string(blob: &str, queue: &str) -> String {
    format!(
        "AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={blob};QueueEndpoint={queue}"
    )
}

/// A name that no other test of this process uses, legal for containers and queues, with room for `-poison`.
pub(crate) fn unique_name(purpose: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{purpose}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A shared access signature for everything in the account, both services.
pub(crate) fn account_sas() -> String {
    const VERSION: &str = "2025-11-05";
    const EXPIRY: &str = "2099-12-31T00:00:00Z";
    let string_to_sign =
        format!("{ACCOUNT}\nrwdlacup\nbq\nsco\n\n{EXPIRY}\n\nhttps,http\n{VERSION}\n\n");
    let signature = hmac_sha256(&string_to_sign, &Secret::new(ACCOUNT_KEY)).unwrap();
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    format!("sv={VERSION}&ss=bq&srt=sco&sp=rwdlacup&se={EXPIRY}&spr=https,http&sig={signature}")
}
