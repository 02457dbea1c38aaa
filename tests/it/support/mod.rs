//! What the tests stand on: Azurite, a client of its own for it, a double of the Functions host, and the packaged application.
//!
//! Nothing here uses the product's code, so that a mistake there cannot hide here.

#![allow(
    dead_code,
    unused_imports,
    reason = "a toolbox: not every tool is in use at every time"
)]

pub(crate) mod azurite;
pub(crate) mod blob_checker;
pub(crate) mod checker;
pub(crate) mod duckdb;
pub(crate) mod everything;
pub(crate) mod functions_host;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod identity;
pub(crate) mod kql;
pub(crate) mod leaks;
pub(crate) mod listing;
pub(crate) mod local_world;
pub(crate) mod lossy;
pub(crate) mod moving;
pub(crate) mod npm;
pub(crate) mod package;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod raw_http;
pub(crate) mod seed;
pub(crate) mod storage;
pub(crate) mod tls;
pub(crate) mod unprivileged;
pub(crate) mod world;
