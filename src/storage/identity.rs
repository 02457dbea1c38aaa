//! Getting in without a key: by the app's managed identity on Azure, by the developer's own login on a laptop.

use super::connection::{Access, Connection, parse_address};
use super::retry_options;
use super::tokens::Tokens;
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, HttpClient, Transport};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId,
};
use std::sync::Arc;

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
    let tokens = tokens(name, access, http)?;
    Ok(tokens.map(|tokens| Arc::new(tokens) as Arc<dyn TokenCredential>))
}

pub(super) fn tokens(
    name: &str,
    access: &Access,
    http: &Arc<dyn HttpClient>,
) -> anyhow::Result<Option<Tokens>> {
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
    Ok(Some(Tokens::of(credential, advice)))
}
