//! A double of the endpoint that gives tokens to an app on Azure, and a world that has nothing else to get in with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use azure_core::base64;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::azurite::Azurite;
use super::tls::Certificates;
use super::world::WorldBuilder;

/// `IDENTITY_HEADER` of every test: who shows it gets a token, so it must show up nowhere else.
pub(crate) const IDENTITY_HEADER: &str = "1DENT1TY-header+marked/5ec4e7==";

/// What Azure's own storage services are called, when a token for them is asked for.
const STORAGE: &str = "https://storage.azure.com";
const A_DAY_S: i64 = 24 * 60 * 60;
/// The beginning of the issuers that Azurite knows.
const ISSUER: &str = "https://sts.windows.net/";

/// How the endpoint answers from now on.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// Before each answer.
    pub(crate) delay: Duration,
    /// How long a token is good for.
    pub(crate) lifetime_s: i64,
    /// Who the token says has issued it.
    pub(crate) issuer: String,
    /// The status and the body of a refusal.
    pub(crate) refusal: Option<(u16, Value)>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            lifetime_s: A_DAY_S,
            issuer: format!("{ISSUER}5ec4e7ca-0000-4000-8000-000000000001/"),
            refusal: None,
        }
    }
}

/// One request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) client_id: Option<String>,
    /// What was given, if it was.
    pub(crate) token: Option<String>,
}

#[derive(Default)]
struct Shared {
    /// For so many requests each; the last one stays.
    manners: Mutex<Vec<(usize, Manner)>>,
    asked: Mutex<Vec<Asked>>,
}

/// The running endpoint; it lives as long as the test's runtime.
pub(crate) struct IdentityEndpoint {
    address: String,
    shared: Arc<Shared>,
}

impl IdentityEndpoint {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}/msi/token", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/msi/token", get(answer))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// Answers the next `times` requests like this, after those for which something was said already; then as usual.
    pub(crate) fn answer_next(&self, times: usize, manner: Manner) {
        self.shared.manners.lock().unwrap().push((times, manner));
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Every token so far.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let asked = self.asked();
        asked.into_iter().filter_map(|asked| asked.token).collect()
    }
}

impl Azurite {
    /// The Azurite that speaks TLS and takes tokens, which all tests of this process share.
    pub(crate) fn with_tokens() -> &'static Self {
        static SHARED: OnceLock<Azurite> = OnceLock::new();
        SHARED.get_or_init(|| {
            let Certificates { server, key, .. } = Certificates::of_loopback();
            let [server, key] = [server, key].map(|path| path.to_str().unwrap().to_owned());
            Self::start_with(&["--oauth", "basic", "--cert", &server, "--key", &key])
        })
    }
}

impl WorldBuilder {
    /// The world as it is on Azure: storage over TLS that takes tokens, this endpoint for them, and the key in a file.
    pub(crate) fn with_identity(self, endpoint: &IdentityEndpoint) -> Self {
        let azurite = Azurite::with_tokens();
        self.on(azurite)
            .set("IDENTITY_ENDPOINT", &endpoint.address)
            .set("IDENTITY_HEADER", IDENTITY_HEADER)
            .set(
                "SSL_CERT_FILE",
                Certificates::of_loopback().authority.to_str().unwrap(),
            )
            .set(
                "AzureWebJobsStorage__blobServiceUri",
                azurite.blob_endpoint(),
            )
            .set(
                "AzureWebJobsStorage__queueServiceUri",
                azurite.queue_endpoint(),
            )
            .set("AzureWebJobsStorage__credential", "managedidentity")
    }
}

/// A token with what Azurite looks at. Its number makes it one of its own; nobody checks the signature.
pub(crate) fn token(number: usize, issuer: &str, lifetime_s: i64) -> String {
    let part = |value: &[u8]| {
        base64::encode_url_safe(value)
            .trim_end_matches('=')
            .to_owned()
    };
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({
        "aud": STORAGE, "iss": issuer, "iat": now, "nbf": now - 60, "exp": now + lifetime_s,
        "oid": "5ec4e7ca-0000-4000-8000-000000000002", "uti": format!("marked-{number}"), "ver": "1.0",
    });
    let header = json!({ "typ": "JWT", "alg": "RS256" });
    format!(
        "{}.{}.{}",
        part(header.to_string().as_bytes()),
        part(claims.to_string().as_bytes()),
        part(format!("marked signature {number}").as_bytes()),
    )
}

/// <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>
async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let url = reqwest::Url::parse(&format!("http://localhost{uri}")).unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let shown = headers.get("x-identity-header").map(|value| value.to_str());
    let is_known = matches!(shown, Some(Ok(IDENTITY_HEADER)));
    let is_for_storage = query["resource"].trim_end_matches('/') == STORAGE;
    if !is_known || !is_for_storage || query["api-version"] != "2019-08-01" {
        return (StatusCode::UNAUTHORIZED, "not like this").into_response();
    }
    let manner = shared.next_manner();
    tokio::time::sleep(manner.delay).await;
    let mut asked = Asked {
        client_id: query.get("client_id").cloned(),
        token: None,
    };
    let answer = if let Some((status, body)) = manner.refusal {
        (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
    } else {
        let number = shared.asked.lock().unwrap().len();
        let token = token(number, &manner.issuer, manner.lifetime_s);
        asked.token = Some(token.clone());
        let expires_on = jiff::Timestamp::now().as_second() + manner.lifetime_s;
        Json(json!({
            "access_token": token, "expires_on": expires_on.to_string(), "token_type": "Bearer",
            "resource": STORAGE, "client_id": asked.client_id,
        }))
        .into_response()
    };
    shared.asked.lock().unwrap().push(asked);
    answer
}

impl Shared {
    fn next_manner(&self) -> Manner {
        let mut manners = self.manners.lock().unwrap();
        let Some((times, manner)) = manners.iter_mut().find(|(times, _)| *times > 0) else {
            return Manner::default();
        };
        *times = times.saturating_sub(1);
        manner.clone()
    }
}
