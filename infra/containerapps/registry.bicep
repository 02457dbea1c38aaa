// The registry: reached by private endpoint alone, by tokens alone, and pulled from by one identity.
param token string
param location string
param tags object
param zoneRedundant bool = false
param workspaceId string
param principalId string

var acrPull = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '7f951dda-4ed3-4680-a7ca-43fe172d538d')

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  // checkov:skip=CKV_AZURE_163:the scan happens where the image is built (.github/workflows/image.yml); Defender is a matter of the subscription
  // checkov:skip=CKV_AZURE_166:quarantine needs a scanner that lets images out again, and there is none here
  // checkov:skip=CKV_AZURE_233:zones are a choice of zoneRedundant
  name: 'cr${token}'
  location: location
  tags: tags
  // Private endpoints need it.
  sku: { name: 'Premium' }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: 'Disabled'
    // `az acr import` comes in this way: it is how images get into a closed registry.
    networkRuleBypassOptions: 'AzureServices'
    networkRuleSet: { defaultAction: 'Deny' }
    dataEndpointEnabled: true
    zoneRedundancy: zoneRedundant ? 'Enabled' : 'Disabled'
    policies: {
      // Retention, not soft delete: the service takes one of the two, and soft delete only in previews.
      retentionPolicy: { status: 'enabled', days: 30 }
      exportPolicy: { status: 'disabled' }
      azureADAuthenticationAsArmPolicy: { status: 'enabled' }
    }
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, principalId, acrPull)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: acrPull
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: registry
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'ContainerRegistryLoginEvents', enabled: true }
      { category: 'ContainerRegistryRepositoryEvents', enabled: true }
    ]
  }
}

output id string = registry.id
output name string = registry.name
output loginServer string = registry.properties.loginServer
