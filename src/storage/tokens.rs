//! Tokens in time: a credential that does not answer is given up, and a token in hand serves as long as it is good.

use async_trait::async_trait;
use azure_core::Error;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time for a token, the SDK's own attempts included: they can go on for over a minute, and the Functions
/// host kills the process after two.
const TOKEN_TIME_MAX: Duration = Duration::from_secs(20);
/// How long nobody asks again after a failure, while there is a token that is good.
const PAUSE: Duration = Duration::from_secs(30);
/// How long everybody who waited for the same answer in vain is told so, instead of waiting as long once more.
const PAUSE_WITHOUT_TOKEN: Duration = Duration::from_secs(1);
/// A token is not shown any more this long before its end: the request takes a while, and clocks differ.
const SPARE_TIME: Duration = Duration::from_secs(30);
/// A cause is cut to this length: it may be a whole page by whoever answered in the endpoint's place.
const REASON_BYTES_MAX: usize = 500;

/// What a credential gives, and what it gave.
#[derive(Debug)]
pub(super) struct Tokens {
    credential: Arc<dyn TokenCredential>,
    /// What to look at when none comes.
    advice: String,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    token: Option<AccessToken>,
    failure: Option<Failure>,
}

/// The credential is not asked again before its end.
#[derive(Debug)]
struct Failure {
    end: Instant,
    reason: String,
}

impl Tokens {
    /// `advice` is what to look at when no token comes.
    pub(super) fn of(credential: Arc<dyn TokenCredential>, advice: String) -> Self {
        Self {
            credential,
            advice,
            last: Mutex::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token in hand while it is good, else the reason why there is none.
    fn token_or(
        &self,
        token: Option<AccessToken>,
        reason: &str,
    ) -> azure_core::Result<AccessToken> {
        token.ok_or_else(|| {
            Error::with_message(ErrorKind::Credential, format!("{}: {reason}", self.advice))
        })
    }
}

impl Last {
    fn good_token(&self) -> Option<AccessToken> {
        let until = OffsetDateTime::now_utc() + SPARE_TIME;
        let token = self.token.as_ref();
        token.filter(|token| token.expires_on > until).cloned()
    }
}

#[async_trait]
impl TokenCredential for Tokens {
    /// The SDK asks once for everybody, and in the last five minutes of a token with every request.
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        {
            let last = self.last();
            let failure = last.failure.as_ref();
            if let Some(failure) = failure.filter(|failure| Instant::now() < failure.end) {
                return self.token_or(last.good_token(), &failure.reason);
            }
        }
        let asked = self.credential.get_token(scopes, options);
        let (reason, waited) = match tokio::time::timeout(TOKEN_TIME_MAX, asked).await {
            Ok(Ok(token)) => {
                *self.last() = Last {
                    token: Some(token.clone()),
                    failure: None,
                };
                return Ok(token);
            }
            Ok(Err(error)) => (root_cause(&error), false),
            Err(_) => {
                let seconds = TOKEN_TIME_MAX.as_secs();
                (format!("no answer within {seconds} s"), true)
            }
        };
        let mut last = self.last();
        let token = last.good_token();
        let pause = match (&token, waited) {
            (Some(_), _) => PAUSE,
            (None, true) => PAUSE_WITHOUT_TOKEN,
            (None, false) => Duration::ZERO,
        };
        last.failure = Some(Failure {
            end: Instant::now() + pause,
            reason: reason.clone(),
        });
        self.token_or(token, &reason)
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
    let mut line = lines.collect::<Vec<_>>().join("; ");
    line.truncate(line.floor_char_boundary(REASON_BYTES_MAX));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Access;
    use crate::storage::identity::tokens;
    use azure_core::credentials::Secret;
    use azure_core::http::{AsyncRawResponse, HttpClient, Request};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A network in which nobody ever answers. It counts who asked.
    #[derive(Debug, Default)]
    struct Silence(AtomicUsize);

    #[async_trait]
    impl HttpClient for Silence {
        async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
            self.0.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        }
    }

    impl Silence {
        fn asked(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn managed(network: &Arc<Silence>) -> Tokens {
        let http: Arc<dyn HttpClient> = network.clone();
        let access = Access::ManagedIdentity { client_id: None };
        tokens("X", &access, &http).unwrap().unwrap()
    }

    async fn ask(tokens: &Tokens) -> azure_core::Result<AccessToken> {
        let scopes = ["https://storage.azure.com/.default"];
        tokens.get_token(&scopes, None).await
    }

    fn hold(tokens: &Tokens, seconds: u64) {
        let end = OffsetDateTime::now_utc() + Duration::from_secs(seconds);
        tokens.last().token = Some(AccessToken::new(Secret::new("good"), end));
    }

    #[tokio::test(start_paused = true)]
    async fn an_identity_endpoint_that_never_answers_is_given_up_in_time() {
        let network = Arc::default();
        let tokens = managed(&network);
        let started = Instant::now();
        let error = ask(&tokens).await.unwrap_err();
        // Not one that the SDK would try again.
        assert!(matches!(error.kind(), ErrorKind::Credential), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("for `X`"), "{text}");
        assert!(text.ends_with("no answer within 20 s"), "{text}");
        // Those who stood behind it hear the same, and do not wait once more.
        for _ in 0..24 {
            assert_eq!(ask(&tokens).await.unwrap_err().to_string(), text);
        }
        assert_eq!((started.elapsed().as_secs(), network.asked()), (20, 1));
        tokio::time::advance(PAUSE_WITHOUT_TOKEN).await;
        ask(&tokens).await.unwrap_err();
        assert_eq!(network.asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_in_hand_serves_to_its_end_when_no_other_comes() {
        let network = Arc::default();
        let tokens = managed(&network);
        hold(&tokens, 240);
        let started = Instant::now();
        for _ in 0..100 {
            assert_eq!(ask(&tokens).await.unwrap().token.secret(), "good");
        }
        assert_eq!((started.elapsed().as_secs(), network.asked()), (20, 1));
        tokio::time::advance(PAUSE).await;
        ask(&tokens).await.unwrap();
        assert_eq!(network.asked(), 2);
        hold(&tokens, 20);
        ask(&tokens).await.unwrap_err();
    }
}
