// The function app: Flex Consumption, custom handler, one identity for everything.
param token string
param location string
param tags object

@description('Whether the app’s own address answers.')
@allowed(['Deny', 'Allow'])
param firewall string = 'Deny'

@description('Subnet of the app; empty in public mode.')
param subnetId string

param zoneRedundant bool = false
param maximumInstanceCount int = 40
param identityId string
param identityClientId string
param hostStorageName string
param packageContainerUrl string
param archiveStorageName string
param archiveContainer string
param controlContainer string
param workQueue string
param reconcileQueue string
param vaultUri string
param insightsConnectionString string
param lastfmUsers string
param syncSchedule string
param reconcileSchedule string
param requestsPerSecond string
param includeRaw bool
param paused bool = false

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  // checkov:skip=CKV_AZURE_225:zones are a choice of zoneRedundant
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { tier: 'FlexConsumption', name: 'FC1' }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  // checkov:skip=CKV_AZURE_17:no function is called over HTTP; there is no client to show a certificate
  // checkov:skip=CKV_AZURE_212:Flex Consumption has no fixed instances; it scales from none
  // checkov:skip=CKV_AZURE_213:Flex Consumption has no health check; alerts.bicep watches what the app does
  // checkov:skip=CKV_AZURE_222:deployments come in through the SCM site, which takes Entra tokens only
  name: 'func-${token}'
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    // Enabled in both modes, or nothing could be deployed from outside the network. What answers is narrowed below.
    publicNetworkAccess: 'Enabled'
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      remoteDebuggingEnabled: false
      // No function is called over HTTP. In private mode the app's own address answers nobody; the SCM site takes the package.
      ipSecurityRestrictionsDefaultAction: firewall
      scmIpSecurityRestrictionsDefaultAction: 'Allow'
      scmIpSecurityRestrictionsUseMain: false
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: { name: 'custom', version: '1.0' }
      scaleAndConcurrency: {
        // The smallest size there is; a handler in Rust is far below it.
        instanceMemoryMB: 512
        maximumInstanceCount: maximumInstanceCount
      }
    }
  }
}

// Entra tokens only: no publishing password for FTP or the SCM site.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'ftp'
  properties: { allow: false }
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: app
  name: 'scm'
  properties: { allow: false }
}

// What is not here does not belong here: Flex Consumption refuses FUNCTIONS_WORKER_RUNTIME, WEBSITE_RUN_FROM_PACKAGE and their kin,
// and a plain AzureWebJobsStorage, even an empty one, would win over the identity.
resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  // Checkov takes these settings for the site's configuration, and misses in them what stands in the site itself or does not apply:
  // checkov:skip=CKV_AZURE_13:no function is called over HTTP; there is nobody to log in
  // checkov:skip=CKV_AZURE_63:no function is called over HTTP; there are no requests to log
  // checkov:skip=CKV_AZURE_65:no function is called over HTTP; there are no error pages
  // checkov:skip=CKV_AZURE_66:no function is called over HTTP; there are no requests to trace
  // checkov:skip=CKV_AZURE_80:the app is a custom handler, not .NET
  // checkov:skip=CKV_AZURE_88:Flex Consumption has no content share
  // checkov:skip=CKV_AZURE_222:public access is a property of the site, which gives its reason
  parent: app
  name: 'appsettings'
  properties: {
    AzureWebJobsStorage__accountName: hostStorageName
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    ARCHIVE_STORAGE__accountName: archiveStorageName
    ARCHIVE_STORAGE__credential: 'managedidentity'
    ARCHIVE_STORAGE__clientId: identityClientId
    ARCHIVE_CONTAINER: archiveContainer
    CONTROL_CONTAINER: controlContainer
    AZURE_CLIENT_ID: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // Without a version, so that a rotated key arrives by itself within a day.
    LASTFM_API_KEY: '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/lastfm-api-key/)'
    LASTFM_USERS: lastfmUsers
    LASTFM_REQUESTS_PER_SECOND: requestsPerSecond
    INCLUDE_RAW: includeRaw ? 'true' : 'false'
    SYNC_SCHEDULE: syncSchedule
    WORK_QUEUE: workQueue
    RECONCILE_SCHEDULE: reconcileSchedule
    RECONCILE_QUEUE: reconcileQueue
    // On Linux the process sees these with underscores: AzureWebJobs_enqueue_users_Disabled.
    'AzureWebJobs.enqueue_users.Disabled': paused ? 'true' : 'false'
    'AzureWebJobs.fetch_pages.Disabled': paused ? 'true' : 'false'
    'AzureWebJobs.reconcile_users.Disabled': paused ? 'true' : 'false'
    'AzureWebJobs.reconcile_user.Disabled': paused ? 'true' : 'false'
  }
}

output id string = app.id
output name string = app.name
