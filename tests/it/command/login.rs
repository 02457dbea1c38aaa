//! A local run against a real account: without a managed identity, the developer's own login gets in.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fake_lastfm::{Play, Server};
use tempfile::TempDir;

use crate::support::azurite::{Azurite, unique_name};
use crate::support::blob_checker::{self, Truth};
use crate::support::identity::{Manner, token};
use crate::support::program::{KEY, Program};
use crate::support::tls::Certificates;
use crate::support::world::{history, lastfm_with};

/// The developer's machine: their tools, a fake Last.fm, storage in the cloud.
struct Desk {
    tools: TempDir,
    lastfm: Server,
    container: String,
    plays: Vec<Play>,
}

impl Desk {
    /// A desk with these two tools, each a line of shell.
    fn with(az: &str, azd: &str) -> Self {
        let tools = tempfile::tempdir().unwrap();
        for (name, line) in [("az", az), ("azd", azd)] {
            let path = tools.path().join(name);
            let asked = path.with_extension("asked");
            let script = format!("#!/bin/sh\necho \"$*\" >>{}\n{line}\n", asked.display());
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let plays = history(1, 300);
        Self {
            tools,
            lastfm: Server::start(lastfm_with(&[("rj", plays.clone())])).unwrap(),
            container: unique_name("login"),
            plays,
        }
    }

    fn sync(&self) -> Program {
        let tools = self.tools.path().display();
        let address = Azurite::with_tokens().blob_endpoint();
        Program::new(&["sync", "rj"])
            .set("PATH", format!("{tools}:/usr/bin:/bin"))
            .set("SSL_CERT_FILE", Certificates::of_loopback().authority)
            .set("ARCHIVE_STORAGE__blobServiceUri", address)
            .set("ARCHIVE_CONTAINER", &self.container)
            .set("CONTROL_CONTAINER", unique_name("control"))
            .set("LASTFM_API_KEY", KEY)
            .set("LASTFM_API_URL", self.lastfm.url())
            .set("LASTFM_REQUESTS_PER_SECOND", "0")
    }

    /// What the tool was asked, one line each time.
    fn asked(&self, tool: &str) -> String {
        fs::read_to_string(self.tools.path().join(format!("{tool}.asked"))).unwrap_or_default()
    }

    async fn expect_archived(&self) {
        let container = Azurite::with_tokens().container(&self.container);
        let blobs = blob_checker::download(&container, "rj").await;
        let truth = Truth {
            user: "rj",
            plays: &self.plays,
        };
        blob_checker::compare(&truth, &blobs).unwrap();
    }
}

/// What a tool prints that is logged in; `expiry` is the tool's own way of saying when the token ends.
fn prints(token_field: &str, expiry: &str) -> String {
    let token = token(0, &Manner::default().issuer, 3_600);
    format!(r#"echo '{{"{token_field}":"{token}",{expiry},"tokenType":"Bearer"}}'"#)
}

const NOT_LOGGED_IN: &str = "echo \"Please run 'az login' to setup account.\" >&2; exit 1";

#[tokio::test]
async fn the_login_of_the_azure_cli_gets_in_without_a_managed_identity() {
    let in_an_hour = jiff::Timestamp::now().as_second() + 3_600;
    let az = prints("accessToken", &format!("\"expires_on\":{in_an_hour}"));
    let desk = Desk::with(&az, "exit 1");
    desk.sync().run().expect(0);
    desk.expect_archived().await;
    let asked = desk.asked("az");
    let wanted = "account get-access-token -o json --scope https://storage.azure.com/.default";
    assert!(asked.lines().all(|line| line == wanted), "{asked}");
    assert_eq!(desk.asked("azd"), "");
}

#[tokio::test]
async fn the_login_of_the_developer_cli_serves_as_well() {
    let azd = prints("token", "\"expiresOn\":\"2099-12-31T00:00:00Z\"");
    let desk = Desk::with(NOT_LOGGED_IN, &azd);
    desk.sync().run().expect(0);
    desk.expect_archived().await;
    assert!(desk.asked("azd").starts_with("auth token -o json"));
}

#[test]
fn without_any_login_one_line_says_how_to_log_in() {
    let desk = Desk::with(NOT_LOGGED_IN, "echo 'not logged in' >&2; exit 1");
    let ran = desk.sync().run().expect(2);
    // That, and what was archived.
    assert_eq!((ran.errors(), ran.stderr.lines().count()), (1, 2));
    ran.says("neither `az` nor `azd` gave a token for `ARCHIVE_STORAGE`")
        .says("log in with `az login`")
        .says("Please run 'az login' to setup account.");
}
