//! `enqueue USER`: a work item by hand.

use super::{Exit, user_name};
use crate::clock::Clock;
use crate::fetch_pages::FetchPages;
use crate::http;
use crate::logging;
use crate::queue::WorkQueue;
use crate::settings::{Needs, Settings};
use anyhow::Context;
use std::time::Duration;

/// What `enqueue` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Last.fm user name
    user: String,
}

pub(super) async fn run(
    options: Options,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<Exit> {
    logging::to_stderr(lookup)?;
    let user = user_name(&options.user)?;
    let settings = Settings::read(
        Needs {
            host_storage: true,
            ..Needs::default()
        },
        None,
        lookup,
    )?;
    let storage = settings
        .host_storage
        .as_ref()
        .context("`AzureWebJobsStorage` is missing")?;
    let queue = WorkQueue::new(
        storage,
        &settings.work_queue,
        &http::client()?,
        &Clock::system(),
    )?;
    queue
        .send(&FetchPages::of(user.clone(), None), Duration::ZERO)
        .await?;
    logging::say(&format!(
        "a work item for `{user}` is on queue `{}`",
        settings.work_queue
    ));
    Ok(Exit::Done)
}
