// A storage account that takes tokens only. The host's account and the archive's differ in what they hold, not in how
// they are closed. No lifecycle rule touches what was archived: append blobs cannot be moved between tiers, and deleting is
// nobody's job but the user's.
@minLength(3)
@maxLength(24)
param name string
param location string
param tags object

@description('The two halves of one choice, made in main.bicep: closed but for private endpoints, or open to whoever has a token.')
@allowed(['Disabled', 'Enabled'])
param publicNetworkAccess string = 'Disabled'

@allowed(['Deny', 'Allow'])
param firewall string = 'Deny'

param zoneRedundant bool = false
param containers array
param queues array = []
param workspaceId string

@description('Keeps what is overwritten or deleted. It does not see appends.')
param versioning bool = true

@description('A container whose blobs are overwritten all the time, and whose previous versions nobody wants. Empty: none.')
param overwrittenContainer string = ''

@description('Keeps the account itself from being deleted.')
param locked bool = true

// 30 days to notice a deletion.
var retention = { enabled: true, days: 30 }

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  // checkov:skip=CKV_AZURE_206:zone-redundant storage is a choice of zoneRedundant; a second region is the runbook's «move an archive»
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    isHnsEnabled: false
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    supportsHttpsTrafficOnly: true
    minimumTlsVersion: 'TLS1_2'
    isLocalUserEnabled: false
    isSftpEnabled: false
    isNfsV3Enabled: false
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices'
      // Functions is no trusted service: a closed firewall without a network would be a dead app.
      defaultAction: firewall
      ipRules: []
      virtualNetworkRules: []
    }
    encryption: {
      keySource: 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      services: {
        blob: { enabled: true, keyType: 'Account' }
        file: { enabled: true, keyType: 'Account' }
        queue: { enabled: true, keyType: 'Account' }
        table: { enabled: true, keyType: 'Account' }
      }
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: retention
    containerDeleteRetentionPolicy: retention
    isVersioningEnabled: versioning
  }
}

// Versioning is of the whole account, and what is overwritten again and again would leave a version each time, for good. They go
// after a day, and soft delete keeps them for its 30. The rule comes as a trusted service: `bypass` lets it through the firewall.
resource versions 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = if (versioning && !empty(overwrittenContainer)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'overwritten'
          type: 'Lifecycle'
          enabled: true
          definition: {
            // The prefix begins with the container's name; the slash keeps it from fitting another one.
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['${overwrittenContainer}/'] }
            actions: { version: { delete: { daysAfterCreationGreaterThan: 1 } } }
          }
        }
      ]
    }
  }
  // A rule about versions wants versioning.
  dependsOn: [blobService]
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [for container in containers: {
  parent: blobService
  name: container
  properties: { publicAccess: 'None' }
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource workQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' = [for queue in queues: {
  parent: queueService
  name: queue
}]

resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (locked) {
  name: 'keep'
  scope: account
  properties: {
    level: 'CanNotDelete'
    notes: 'The archive is the only copy. `azd down` removes this lock first.'
  }
}

resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: blobService
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
    metrics: [{ category: 'Transaction', enabled: true }]
  }
}

resource queueDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: queueService
  properties: {
    workspaceId: workspaceId
    // Not StorageRead: an idle queue is asked every ten seconds, and each time would be a line that says nothing.
    logs: [
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

output id string = account.id
output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
