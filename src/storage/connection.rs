//! Where a storage account is and how to get in: the Functions host's own forms of a connection setting.
//!
//! One parser serves `AzureWebJobsStorage` and `ARCHIVE_STORAGE`. Error texts name the setting, never its value.

use super::identity;
use azure_core::credentials::Secret;
use azure_core::http::Url;
use std::fmt;

/// The account that Azurite serves, and its key: both are public knowledge.
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A parsed connection setting.
#[derive(Clone)]
pub struct Connection {
    /// Address of the blob service.
    pub blob: Option<Url>,
    /// Address of the queue service.
    pub queue: Option<Url>,
    /// How to get in.
    pub access: Access,
}

/// Without the addresses' queries, which may hold a signature.
impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |address: &Option<Url>| {
            address
                .as_ref()
                .and_then(|url| url.host_str().map(str::to_owned))
        };
        formatter
            .debug_struct("Connection")
            .field("blob", &host(&self.blob))
            .field("queue", &host(&self.queue))
            .field("access", &self.access)
            .finish()
    }
}

/// How requests are authorised.
#[derive(Clone, Debug)]
pub enum Access {
    /// Signed with the account's key.
    AccountKey {
        /// The account, which is part of what is signed.
        account: String,
        /// Base64, as the portal shows it.
        key: Secret,
    },
    /// A shared access signature, which is already part of the addresses.
    Signature,
    /// The app's managed identity, by client id when it is a user-assigned one.
    ManagedIdentity {
        /// `None`: the system-assigned identity.
        client_id: Option<String>,
    },
    /// Whoever is logged in with `az` or `azd` on this machine.
    DeveloperLogin,
}

impl Connection {
    /// Reads the setting `name` in any of its forms; nothing when none is there. `lookup` reads one variable.
    pub fn from_settings(
        name: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        // A plain value wins when it is present and not blank, as in the host.
        if let Some(value) = lookup(name).filter(|value| !value.trim().is_empty()) {
            return Self::from_string(name, &value).map(Some);
        }
        identity::from_settings(name, lookup)
    }

    fn from_string(name: &str, value: &str) -> Result<Self, String> {
        let pairs = pairs(value).ok_or_else(|| {
            format!(
                "`{name}` is no connection string: `Name=value` pairs separated by `;` are wanted"
            )
        })?;
        let field = |wanted: &str| {
            let found = pairs
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(wanted));
            found
                .map(|(_, value)| *value)
                .filter(|value| !value.is_empty())
        };
        if field("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::development(name, field("DevelopmentStorageProxyUri"));
        }
        let suffix = field("EndpointSuffix").unwrap_or("core.windows.net");
        let scheme = field("DefaultEndpointsProtocol").unwrap_or("https");
        let account = field("AccountName");
        let address = |service: &str, endpoint: Option<&str>| {
            let address = match (endpoint, account) {
                (Some(endpoint), _) => endpoint.to_owned(),
                (None, Some(account)) => format!("{scheme}://{account}.{service}.{suffix}/"),
                (None, None) => return Ok(None),
            };
            parse_address(name, &address).map(Some)
        };
        let mut blob = address("blob", field("BlobEndpoint"))?;
        let mut queue = address("queue", field("QueueEndpoint"))?;
        if blob.is_none() && queue.is_none() {
            return Err(format!(
                "`{name}` names no account: `AccountName` or `BlobEndpoint` and `QueueEndpoint` are wanted"
            ));
        }
        let access = if let Some(signature) = field("SharedAccessSignature") {
            for address in blob.iter_mut().chain(queue.iter_mut()) {
                address.set_query(Some(signature.trim_start_matches('?')));
            }
            Access::Signature
        } else if let (Some(account), Some(key)) = (account, field("AccountKey")) {
            if azure_core::base64::decode(key).is_err() {
                return Err(format!("`AccountKey` in `{name}` is not base64"));
            }
            Access::AccountKey {
                account: account.to_owned(),
                key: Secret::new(key.to_owned()),
            }
        } else {
            return Err(format!(
                "`{name}` has neither `AccountName` with `AccountKey` nor `SharedAccessSignature`"
            ));
        };
        Ok(Self {
            blob,
            queue,
            access,
        })
    }

    fn development(name: &str, proxy: Option<&str>) -> Result<Self, String> {
        let host = proxy.unwrap_or("http://127.0.0.1").trim_end_matches('/');
        let address =
            |port| parse_address(name, &format!("{host}:{port}/{DEVELOPMENT_ACCOUNT}")).map(Some);
        let key = Secret::new(DEVELOPMENT_KEY);
        Ok(Self {
            blob: address(10_000)?,
            queue: address(10_001)?,
            access: Access::AccountKey {
                account: DEVELOPMENT_ACCOUNT.to_owned(),
                key,
            },
        })
    }
}

/// `Name=value` pairs; values may hold `=` themselves.
fn pairs(text: &str) -> Option<Vec<(&str, &str)>> {
    text.split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            pair.split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
        })
        .collect()
}

pub(super) fn parse_address(setting: &str, address: &str) -> Result<Url, String> {
    match Url::parse(address.trim()) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(format!(
            "`{setting}` holds no address: `https://` and a host are wanted"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(settings: &[(&str, &str)]) -> Result<Option<Connection>, String> {
        Connection::from_settings("X", &|name| {
            settings
                .iter()
                .find(|(setting, _)| *setting == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    /// Blob and queue address and the kind of access, in words.
    #[track_caller]
    fn check(settings: &[(&str, &str)], expect: &str) {
        let connection = connection(settings).unwrap().unwrap();
        let address = |url: &Option<Url>| url.as_ref().map_or("-".to_owned(), Url::to_string);
        let access = match &connection.access {
            Access::AccountKey { account, .. } => format!("key of {account}"),
            Access::Signature => "signature".to_owned(),
            Access::ManagedIdentity { client_id } => format!("identity {client_id:?}"),
            Access::DeveloperLogin => "login".to_owned(),
        };
        assert_eq!(
            format!(
                "{} {} {access}",
                address(&connection.blob),
                address(&connection.queue)
            ),
            expect
        );
    }

    #[track_caller]
    fn refused(settings: &[(&str, &str)], expect: &str) {
        let error = connection(settings).unwrap_err();
        assert!(error.contains(expect), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }

    #[test]
    fn every_form_of_the_host_is_understood() {
        check(
            &[("X", "UseDevelopmentStorage=true")],
            "http://127.0.0.1:10000/devstoreaccount1 http://127.0.0.1:10001/devstoreaccount1 key of devstoreaccount1",
        );
        check(
            &[(
                "X",
                "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=a2U=;EndpointSuffix=core.windows.net",
            )],
            "https://acc.blob.core.windows.net/ https://acc.queue.core.windows.net/ key of acc",
        );
        check(
            &[(
                "X",
                "BlobEndpoint=http://127.0.0.1:7/acc;AccountName=acc;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:8/acc;",
            )],
            "http://127.0.0.1:7/acc http://127.0.0.1:8/acc key of acc",
        );
        check(
            &[(
                "X",
                "BlobEndpoint=https://acc.example/;SharedAccessSignature=?sv=1&sig=abc%3D",
            )],
            "https://acc.example/?sv=1&sig=abc%3D - signature",
        );
        check(
            &[(
                "X",
                "AccountName=acc;SharedAccessSignature=sv=1;EndpointSuffix=core.example",
            )],
            "https://acc.blob.core.example/?sv=1 https://acc.queue.core.example/?sv=1 signature",
        );
        check(
            &[
                ("X__accountName", "acc"),
                ("X__credential", "managedidentity"),
                ("X__clientId", "5ec4e7ca-0000-4000-8000-000000000042"),
            ],
            "https://acc.blob.core.windows.net/ https://acc.queue.core.windows.net/ identity Some(\"5ec4e7ca-0000-4000-8000-000000000042\")",
        );
        check(
            &[
                ("X__blobServiceUri", "https://a.example"),
                ("X__queueServiceUri", "https://b.example"),
                ("IDENTITY_ENDPOINT", "x"),
            ],
            "https://a.example/ https://b.example/ identity None",
        );
        check(
            &[("X__blobServiceUri", "https://a.example")],
            "https://a.example/ - login",
        );
        check(
            &[("X__accountName", " acc "), ("IDENTITY_ENDPOINT", " ")],
            "https://acc.blob.core.windows.net/ https://acc.queue.core.windows.net/ login",
        );
        assert!(connection(&[("X", " ")]).unwrap().is_none());
    }

    #[test]
    fn neither_key_nor_signature_is_ever_printed() {
        for value in [
            "AccountName=a;AccountKey=U0VDUkVU",
            "BlobEndpoint=https://a.example/;SharedAccessSignature=sig=U0VDUkVU",
        ] {
            let text = format!("{:?}", connection(&[("X", value)]).unwrap());
            assert!(!text.contains("U0VDUkVU"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name_and_not_by_value() {
        refused(&[("X", "SECRET")], "`X` is no connection string");
        refused(&[("X", "AccountKey=SECRET")], "names no account");
        refused(
            &[("X", "AccountName=SECRET")],
            "neither `AccountName` with `AccountKey`",
        );
        refused(
            &[("X", "AccountName=a;AccountKey=SECRET!")],
            "is not base64",
        );
        refused(
            &[("X", "BlobEndpoint=SECRET;AccountKey=a2V5")],
            "holds no address",
        );
        refused(
            &[("X__blobServiceUri", "http://SECRET")],
            "`X__blobServiceUri` must be an https address",
        );
        refused(
            &[("X__queueServiceUri", "http://SECRET")],
            "`X__queueServiceUri` must be an https address",
        );
        refused(
            &[("X__accountName", "acc"), ("X__credential", "SECRET")],
            "must be `managedidentity`",
        );
        for account in ["https://SECRET", "SECRET.example", "SECRET/acc", "ab"] {
            refused(&[("X__accountName", account)], "`X__accountName` must have");
        }
        for field in ["X__managedIdentityResourceId", "X__clientId"] {
            let resource_id = "/subscriptions/SECRET/identities/app";
            let settings = [("X__accountName", "acc"), (field, resource_id)];
            refused(
                &settings,
                &format!("`{field}` holds a resource id, which the Azure SDK cannot pass on"),
            );
            refused(&settings, "client id in `X__clientId`");
        }
    }
}
