//! `serve`: the custom handler. The host names a port and calls it on loopback.

use super::{Exit, told_to_end};
use crate::archive::Access;
use crate::clock::Clock;
use crate::environment::{Environment, Stop};
use crate::http;
use crate::logging;
use crate::settings::{Invalid, Needs, Settings};
use crate::storage::Connection;
use crate::triggers::{self, App};
use anyhow::Context;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::SetOnce;

/// How long invocations under way may take to end after the process is told to.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(25);

pub(super) async fn run(lookup: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Exit> {
    logging::to_stdout_as_json(lookup)?;
    let needs = Needs {
        key: true,
        users: true,
        host_storage: true,
        archive: true,
    };
    let settings = Settings::read(needs, None, lookup)?;
    let port = port(lookup)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on port {port} of 127.0.0.1"))?;
    let host_storage = settings
        .host_storage
        .clone()
        .context("`AzureWebJobsStorage` is missing")?;
    tracing::info!(
        port,
        users = settings.users.len(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );

    // The host waits for the first answer, so that comes before reading the machine's root certificates.
    let (stop, app) = (Stop::default(), Arc::new(SetOnce::new()));
    let making = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || make_app(settings, &host_storage, stop)
    });
    let made = async {
        let made = making.await.context("the clients cannot be made")??;
        let _ = app.set(made);
        std::future::pending::<anyhow::Result<()>>().await
    };
    let (ending, ended) = tokio::sync::oneshot::channel();
    let serving = axum::serve(listener, triggers::router(Arc::clone(&app)));
    let serving = serving.with_graceful_shutdown(async move {
        told_to_end().await;
        tracing::info!("told to end: the current append is finished first");
        stop.request();
        let _ = ending.send(());
    });
    let overdue = async {
        let _ = ended.await;
        tokio::time::sleep(SHUTDOWN_TIME_MAX).await;
    };
    tokio::select! {
        served = serving => served?,
        failed = made => failed?,
        () = overdue => tracing::warn!("an invocation did not end in time"),
    }
    Ok(Exit::Done)
}

fn make_app(settings: Settings, host_storage: &Connection, stop: Stop) -> anyhow::Result<App> {
    let environment = Environment::new(
        settings,
        Access::Write,
        http::client()?,
        Clock::system(),
        stop,
    )?;
    let queue = environment.work_queue(host_storage)?;
    let reconciles = environment.reconcile_queue(host_storage)?;
    Ok(App {
        environment,
        queue,
        reconciles,
    })
}

fn port(lookup: &dyn Fn(&str) -> Option<String>) -> Result<u16, Invalid> {
    let value = lookup("FUNCTIONS_CUSTOMHANDLER_PORT").and_then(|value| value.trim().parse().ok());
    value.ok_or_else(|| {
        Invalid("`FUNCTIONS_CUSTOMHANDLER_PORT` must be a port: the Functions host sets it; start the app with `func start`".to_owned())
    })
}
