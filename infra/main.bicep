// Everything that lastfm-archive needs on Azure, in one deployment. Each module is one concern; who may do what stands in
// modules/access.bicep alone. Written in the subset of Bicep that checkov can read: see checks/README.md.
targetScope = 'subscription'

@description('Name of the azd environment. It is part of every name, so two environments share nothing.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of every resource. It must offer Flex Consumption.')
param location string

@description('LASTFM_USERS: names separated by commas, each `name` or `name=Area/City`.')
@minLength(1)
param lastfmUsers string

@description('private: virtual network, private endpoints and closed firewalls. public: none of these; every service still takes tokens only.')
@allowed(['private', 'public'])
param network string = 'private'

@description('When the timer runs, as NCRONTAB with seconds, in UTC.')
param syncSchedule string = '0 0 * * * *'

@description('When late and removed plays are looked for, as NCRONTAB with seconds, in UTC.')
param reconcileSchedule string = '0 45 4 * * *'

@description('Requests to Last.fm in a second, of all instances together; above 0 and at most 5. The job has as many again.')
param requestsPerSecond string = '4'

@description('true: Last.fm’s own row is kept with each play.')
param includeRaw bool = false

@description('true: every function stands still. What is on the queues waits.')
param paused bool = false

@description('Instances of one function. No protection for Last.fm: that is the request budget.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Spread the plan and the storage over availability zones, where the region has them.')
param zoneRedundant bool = false

@description('A lock that keeps the archive account from being deleted. `azd down` takes it off first.')
param archiveLock bool = true

@description('Where alerts go. Empty: they are seen in the portal only.')
param alertEmail string = ''

@description('Days that logs are kept.')
@minValue(90)
@maxValue(730)
param logRetentionDays int = 90

@description('Owner, CostCenter and Compliance tags.')
param owner string = 'unknown'
param costCenter string = 'none'
param compliance string = 'none'

@description('Also make the Container Apps Job. Needs network private.')
param containerJob bool = false

@description('Image of the job in the registry of this deployment, by digest: `lastfm-archive@sha256:…`. Empty: registry and environment only.')
param containerImage string = ''

@description('When the job runs, as cron of five fields, in UTC.')
param containerSchedule string = '30 3 * * *'

// One choice decides network, endpoints, names and every firewall, so that no dead combination can be asked for: Functions is no
// trusted service, and a closed account without a network is an app that cannot start.
var isPrivate = network == 'private'
var publicNetworkAccess = isPrivate ? 'Disabled' : 'Enabled'
var firewall = isPrivate ? 'Deny' : 'Allow'

var token = uniqueString(subscription().id, environmentName, location)
var tags = {
  'azd-env-name': environmentName
  Environment: environmentName
  Application: 'lastfm-archive'
  ManagedBy: 'bicep'
  Owner: owner
  CostCenter: costCenter
  Compliance: compliance
}

// The containers and queues that the app is told of, and that access.bicep opens: said once.
var workQueue = 'page-ranges'
var reconcileQueue = 'reconciles'
var queues = [workQueue, '${workQueue}-poison', reconcileQueue, '${reconcileQueue}-poison']
var archiveContainer = 'scrobbles'
var controlContainer = 'control'
var packageContainer = 'app-package'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-lastfm-archive-${environmentName}'
  location: location
  tags: tags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
  }
}

module vnet 'modules/network.bicep' = if (isPrivate) {
  name: 'network'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
  }
}

module hostStorage 'modules/storage.bicep' = {
  name: 'host-storage'
  scope: group
  params: {
    name: 'sthost${token}'
    location: location
    tags: tags
    publicNetworkAccess: publicNetworkAccess
    firewall: firewall
    zoneRedundant: zoneRedundant
    containers: [packageContainer]
    queues: queues
    // What the host keeps here it can make again.
    versioning: false
    locked: false
    workspaceId: monitoring.outputs.workspaceId
  }
}

module archiveStorage 'modules/storage.bicep' = {
  name: 'archive-storage'
  scope: group
  params: {
    name: 'starchive${token}'
    location: location
    tags: tags
    publicNetworkAccess: publicNetworkAccess
    firewall: firewall
    zoneRedundant: zoneRedundant
    containers: [archiveContainer, controlContainer]
    versioning: true
    overwrittenContainer: controlContainer
    locked: archiveLock
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    publicNetworkAccess: publicNetworkAccess
    firewall: firewall
    workspaceId: monitoring.outputs.workspaceId
  }
}

module endpoints 'modules/private-endpoints.bicep' = if (isPrivate) {
  name: 'private-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    subnetId: vnet.?outputs.endpointSubnetId ?? ''
    vnetId: vnet.?outputs.vnetId ?? ''
    vaultId: vault.outputs.id
    hostStorageId: hostStorage.outputs.id
    archiveStorageId: archiveStorage.outputs.id
  }
}

module access 'modules/access.bicep' = {
  name: 'access'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    hostStorageName: hostStorage.outputs.name
    archiveStorageName: archiveStorage.outputs.name
    vaultName: vault.outputs.name
    insightsName: monitoring.outputs.insightsName
    queues: queues
  }
}

module app 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    firewall: firewall
    subnetId: vnet.?outputs.appSubnetId ?? ''
    zoneRedundant: zoneRedundant
    maximumInstanceCount: maximumInstanceCount
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    hostStorageName: hostStorage.outputs.name
    packageContainerUrl: '${hostStorage.outputs.blobEndpoint}${packageContainer}'
    archiveStorageName: archiveStorage.outputs.name
    archiveContainer: archiveContainer
    controlContainer: controlContainer
    workQueue: workQueue
    reconcileQueue: reconcileQueue
    vaultUri: vault.outputs.uri
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    lastfmUsers: lastfmUsers
    syncSchedule: syncSchedule
    reconcileSchedule: reconcileSchedule
    requestsPerSecond: requestsPerSecond
    includeRaw: includeRaw
    paused: paused
  }
  // An app that starts before it may read its storage, or before the names resolve to the private addresses, stays down.
  dependsOn: [access, endpoints]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    email: alertEmail
    workspaceId: monitoring.outputs.workspaceId
    vaultId: vault.outputs.id
    principalId: identity.outputs.principalId
    paused: paused
  }
}

module job 'containerapps/main.bicep' = if (containerJob && isPrivate) {
  name: 'container-job'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    environmentSubnetId: vnet.?outputs.jobSubnetId ?? ''
    endpointSubnetId: vnet.?outputs.endpointSubnetId ?? ''
    vnetId: vnet.?outputs.vnetId ?? ''
    workspaceId: monitoring.outputs.workspaceId
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    identityPrincipalId: identity.outputs.principalId
    vaultUri: vault.outputs.uri
    archiveStorageName: archiveStorage.outputs.name
    image: containerImage
    schedule: containerSchedule
    requestsPerSecond: requestsPerSecond
    includeRaw: includeRaw
    lastfmUsers: lastfmUsers
  }
  dependsOn: [access, endpoints]
}

// Names and ids, which the hooks and the runbook use. No output holds a secret.
output AZURE_RESOURCE_GROUP string = group.name
output FUNCTION_APP_NAME string = app.outputs.name
output FUNCTION_APP_ID string = app.outputs.id
output KEY_VAULT_NAME string = vault.outputs.name
output ARCHIVE_STORAGE_NAME string = archiveStorage.outputs.name
output HOST_STORAGE_NAME string = hostStorage.outputs.name
output WORKSPACE_CUSTOMER_ID string = monitoring.outputs.workspaceCustomerId
output REGISTRY_NAME string = job.?outputs.registryName ?? ''
