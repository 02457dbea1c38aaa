//! Getting in without a key: by the app's managed identity on Azure, by the developer's own login on a laptop.

use super::connection::{Access, Connection, parse_address};
use super::retry_options;
use async_trait::async_trait;
use azure_core::Error;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, HttpClient, Transport};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for a token, the SDK's own attempts included: they can go on for over a minute, and the Functions
/// host kills the process after two.
const TOKEN_TIME_MAX: Duration = Duration::from_secs(20);
/// How long nobody asks again after a failure, while there is a token that is good.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// A token is not shown any more this long before its end: the request takes a while, and clocks differ.
const SPARE_TIME: Duration = Duration::from_secs(30);

/// `<name>__accountName`, or `<name>__blobServiceUri` and `<name>__queueServiceUri`; nothing when none is there.
pub(super) fn from_settings(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Connection>, String> {
    let variable = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    let field = |field: &str| variable(&format!("{name}__{field}"));
    let account = field("accountName").map(|account| account.trim().to_owned());
    if let Some(account) = &account {
        check_account(name, account)?;
    }
    let address = |service: &str, setting: &str| {
        let full_name = format!("{name}__{setting}");
        let address = match (field(setting), &account) {
            (Some(address), _) => parse_address(&full_name, &address)?,
            (None, Some(account)) => parse_address(
                &format!("{name}__accountName"),
                &format!("https://{account}.{service}.core.windows.net/"),
            )?,
            (None, None) => return Ok(None),
        };
        if address.scheme() != "https" {
            return Err(format!(
                "`{full_name}` must be an https address: an identity's token is not sent in clear text"
            ));
        }
        Ok(Some(address))
    };
    let blob = address("blob", "blobServiceUri")?;
    let queue = address("queue", "queueServiceUri")?;
    if blob.is_none() && queue.is_none() {
        return Ok(None);
    }
    if field("managedIdentityResourceId").is_some() {
        return Err(no_resource_id(name, "managedIdentityResourceId"));
    }
    let client_id = field("clientId").map(|id| id.trim().to_owned());
    // A client id is a GUID; a resource id is a path.
    if client_id.as_ref().is_some_and(|id| id.contains('/')) {
        return Err(no_resource_id(name, "clientId"));
    }
    let managed = match field("credential") {
        Some(credential) if credential.trim().eq_ignore_ascii_case("managedidentity") => true,
        Some(_) => return Err(format!("`{name}__credential` must be `managedidentity`")),
        // On Azure there is an endpoint that hands out tokens; on a laptop there is none.
        None => variable("IDENTITY_ENDPOINT").is_some(),
    };
    let access = if managed {
        Access::ManagedIdentity { client_id }
    } else {
        Access::DeveloperLogin
    };
    Ok(Some(Connection {
        blob,
        queue,
        access,
    }))
}

/// By the service's rules, so that a whole address in its place is not taken for the name of a host.
fn check_account(name: &str, account: &str) -> Result<(), String> {
    let possible = (3..=24).contains(&account.len())
        && account
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    possible.then_some(()).ok_or_else(|| {
        format!(
            "`{name}__accountName` must have 3 to 24 of the characters a-z 0-9; whole addresses belong into \
             `{name}__blobServiceUri` and `{name}__queueServiceUri`"
        )
    })
}

fn no_resource_id(name: &str, field: &str) -> String {
    format!(
        "`{name}__{field}` holds a resource id, which the Azure SDK cannot pass on to App Service; name the identity by \
         its client id in `{name}__clientId`"
    )
}

/// What gets tokens for the setting `name`; nothing when it needs none.
pub(super) fn credential(
    name: &str,
    access: &Access,
    http: &Arc<dyn HttpClient>,
) -> anyhow::Result<Option<Arc<dyn TokenCredential>>> {
    Ok(tokens(name, access, http)?.map(|tokens| tokens as Arc<dyn TokenCredential>))
}

fn tokens(
    name: &str,
    access: &Access,
    http: &Arc<dyn HttpClient>,
) -> anyhow::Result<Option<Arc<Tokens>>> {
    let (credential, advice): (Arc<dyn TokenCredential>, _) = match access {
        Access::AccountKey { .. } | Access::Signature => return Ok(None),
        Access::ManagedIdentity { client_id } => {
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
                client_options: ClientOptions {
                    retry: retry_options(),
                    transport: Some(Transport::new(http.clone())),
                    ..Default::default()
                },
            };
            (
                ManagedIdentityCredential::new(Some(options))?,
                format!(
                    "the managed identity gave no token for `{name}`; is it assigned to this app, and is \
                     `{name}__clientId` its client id?"
                ),
            )
        }
        Access::DeveloperLogin => (
            DeveloperToolsCredential::new(None)?,
            format!(
                "neither `az` nor `azd` gave a token for `{name}`; log in with `az login`, or, where there is a managed \
                 identity, set `{name}__credential` to `managedidentity`"
            ),
        ),
    };
    Ok(Some(Arc::new(Tokens {
        credential,
        advice,
        last: Mutex::default(),
    })))
}

/// Tokens from a credential that is given up in time; a token in hand serves as long as it is good.
#[derive(Debug)]
struct Tokens {
    credential: Arc<dyn TokenCredential>,
    /// What to look at when none comes.
    advice: String,
    last: Mutex<Option<Last>>,
}

#[derive(Debug)]
struct Last {
    token: AccessToken,
    /// When the credential failed to give another one.
    failed: Option<Instant>,
}

impl Tokens {
    /// The last token, if it is good for a while and `may_serve` says so.
    fn last_if(&self, may_serve: impl Fn(&Last) -> bool) -> Option<AccessToken> {
        let last = self.last();
        let last = last.as_ref().filter(|last| may_serve(last))?;
        let until = OffsetDateTime::now_utc() + SPARE_TIME;
        (last.token.expires_on > until).then(|| last.token.clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TokenCredential for Tokens {
    /// The SDK asks with every request for the last five minutes of a token.
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let recently = |failed: &Instant| failed.elapsed() < ASK_AGAIN_AFTER;
        if let Some(token) = self.last_if(|last| last.failed.as_ref().is_some_and(recently)) {
            return Ok(token);
        }
        let asked = self.credential.get_token(scopes, options);
        let reason = match tokio::time::timeout(TOKEN_TIME_MAX, asked).await {
            Ok(Ok(token)) => {
                *self.last() = Some(Last {
                    token: token.clone(),
                    failed: None,
                });
                return Ok(token);
            }
            Ok(Err(error)) => root_cause(&error),
            Err(_) => format!("no answer within {} s", TOKEN_TIME_MAX.as_secs()),
        };
        if let Some(last) = self.last().as_mut() {
            last.failed = Some(Instant::now());
        }
        self.last_if(|_| true).ok_or_else(|| {
            Error::with_message(ErrorKind::Credential, format!("{}: {reason}", self.advice))
        })
    }
}

/// The innermost cause, in one line. The SDK repeats it in each of several layers.
fn root_cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::credentials::Secret;
    use azure_core::http::{AsyncRawResponse, Request};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SCOPES: [&str; 1] = ["https://storage.azure.com/.default"];

    /// A network in which nobody ever answers.
    #[derive(Debug, Default)]
    struct Silence(AtomicUsize);

    #[async_trait]
    impl HttpClient for Silence {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    fn managed(http: Arc<Silence>) -> Arc<Tokens> {
        let http: Arc<dyn HttpClient> = http;
        let access = Access::ManagedIdentity { client_id: None };
        tokens("X", &access, &http).unwrap().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_endpoint_that_never_answers_is_given_up_in_time() {
        let tokens = managed(Arc::default());
        let started = Instant::now();
        let error = tokens.get_token(&SCOPES, None).await.unwrap_err();
        assert_eq!(started.elapsed().as_secs(), 20);
        // Not one that the SDK would try again.
        assert!(matches!(error.kind(), ErrorKind::Credential), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("for `X`") && text.ends_with("no answer within 20 s"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_in_hand_serves_to_its_end_when_no_other_comes() {
        let network = Arc::<Silence>::default();
        let tokens = managed(Arc::clone(&network));
        let good_for = |seconds| {
            let end = OffsetDateTime::now_utc() + Duration::from_secs(seconds);
            *tokens.last() = Some(Last {
                token: AccessToken::new(Secret::new("good"), end),
                failed: None,
            });
        };
        good_for(240);
        let started = Instant::now();
        for _ in 0..100 {
            let token = tokens.get_token(&SCOPES, None).await.unwrap();
            assert_eq!(token.token.secret(), "good");
        }
        // It was asked for once, and given up once.
        let asked = network.0.load(Ordering::Relaxed);
        assert_eq!((started.elapsed().as_secs(), asked), (20, 1));
        tokio::time::advance(ASK_AGAIN_AFTER).await;
        tokens.get_token(&SCOPES, None).await.unwrap();
        assert_eq!(network.0.load(Ordering::Relaxed), 2);
        good_for(20);
        tokens.get_token(&SCOPES, None).await.unwrap_err();
    }
}
