//! The HTTP client of the tests.

/// A client that goes straight to loopback, whatever proxy the machine has.
pub(crate) fn client() -> reqwest::ClientBuilder {
    // reqwest is built without a default for its cryptography; fails only when it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
