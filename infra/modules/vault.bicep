// The vault of this environment. Its one secret is written by hooks/write-key, never by a template that is kept:
// the value would stand in the deployment's inputs.
param token string
param location string
param tags object
param workspaceId string

@description('The two halves of one choice, made in main.bicep: closed but for private endpoints, or open to whoever has a token.')
@allowed(['Disabled', 'Enabled'])
param publicNetworkAccess string = 'Disabled'

@allowed(['Deny', 'Allow'])
param firewall string = 'Deny'

@description('premium keeps keys in hardware. There are no keys here.')
@allowed(['standard', 'premium'])
param sku string = 'standard'

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: 'kv-${token}'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: sku }
    enableRbacAuthorization: true
    accessPolicies: []
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    // For ever: once on, nobody can take it off or empty the vault before its time.
    enablePurgeProtection: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      // Resource Manager writes the secret and the diagnostics leave through this bypass.
      bypass: 'AzureServices'
      // A closed vault without a network cannot resolve the app's reference.
      defaultAction: firewall
      ipRules: []
      virtualNetworkRules: []
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: workspaceId
    // A table of its own, AZKVAuditLogs, with columns that the queries name.
    logAnalyticsDestinationType: 'Dedicated'
    logs: [{ category: 'AuditEvent', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
