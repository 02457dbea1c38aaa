//! What it means when the storage service refuses, for whoever has to give the app its rights.

use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;

/// Which service refuses; each has its own role.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// Containers and blobs.
    Blobs,
    /// Queues.
    Queues,
}

impl Service {
    /// <https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/storage>
    fn role(self) -> &'static str {
        match self {
            Self::Blobs => "Storage Blob Data Contributor",
            Self::Queues => "Storage Queue Data Contributor",
        }
    }
}

/// The same error; if it is a refusal, with its usual cause in front.
pub(crate) fn explained(error: anyhow::Error, service: Service) -> anyhow::Error {
    let cause =
        error.chain().find_map(
            |cause| match cause.downcast_ref::<azure_core::Error>()?.kind() {
                ErrorKind::HttpResponse {
                    status: StatusCode::Forbidden | StatusCode::Unauthorized,
                    error_code,
                    ..
                } => Some(in_words(
                    error_code.as_deref().unwrap_or_default(),
                    service.role(),
                )),
                _ => None,
            },
        );
    match cause {
        Some(cause) => error.context(cause),
        None => error,
    }
}

/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes>
fn in_words(code: &str, role: &str) -> String {
    match code {
        "KeyBasedAuthenticationNotPermitted" => format!(
            "the account takes no keys: name it by `__accountName`, and give the app's identity the role `{role}`"
        ),
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => {
            "the service does not believe who asks: the key, signature or token is wrong, out of date, or of another account"
                .to_owned()
        }
        "AuthorizationFailure" => format!(
            "the account's network rules keep the app out, or the role `{role}` is missing here"
        ),
        _ => format!(
            "the role `{role}` is missing here, for the identity with which the app asks; a new role takes up to ten minutes"
        ),
    }
}
