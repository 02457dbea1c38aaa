//! The tools of the other test binary that the contract needs: Azurite, how it is installed, and an HTTP client for it.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a toolbox that the other test binary uses in full"
)]

#[path = "../it/support/azurite.rs"]
pub(crate) mod azurite;
#[path = "../it/support/http.rs"]
pub(crate) mod http;
#[path = "../it/support/npm.rs"]
pub(crate) mod npm;
#[path = "../it/support/storage.rs"]
pub(crate) mod storage;
