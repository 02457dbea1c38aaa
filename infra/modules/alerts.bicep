// What wakes somebody. The queries stand in ../queries, one file each, where people use them too; checks/queries.py holds their
// words against the words that the program writes.
param location string
param tags object
param email string = ''
param workspaceId string
param vaultId string
param principalId string
param paused bool = false

var rules = [
  { name: 'handler-failed', severity: 2, every: 'PT15M', window: 'PT15M', look: 'PT15M', query: loadTextContent('../queries/handler-failed.kql'), text: 'An invocation failed.' }
  { name: 'timer-missed', severity: 1, every: 'PT1H', window: 'P1D', look: 'P2D', query: loadTextContent('../queries/timer-missed.kql'), text: 'The timer has not run for 26 hours.' }
  { name: 'work-stalled', severity: 1, every: 'PT1H', window: 'P1D', look: 'P2D', query: loadTextContent('../queries/work-stalled.kql'), text: 'No work item was done in 26 hours.' }
  { name: 'user-stale', severity: 2, every: 'PT1H', window: 'P1D', look: 'P2D', query: loadTextContent('../queries/user-stale.kql'), text: 'A user was not archived for 26 hours.' }
  { name: 'poison', severity: 2, every: 'PT15M', window: 'PT15M', look: 'PT15M', query: loadTextContent('../queries/poison.kql'), text: 'A message is in the poison queue.' }
  { name: 'key-unusable', severity: 1, every: 'PT15M', window: 'PT15M', look: 'PT15M', query: loadTextContent('../queries/key-unusable.kql'), text: 'The Last.fm key cannot be used.' }
  { name: 'rate-limited', severity: 3, every: 'PT1H', window: 'PT1H', look: 'PT1H', query: loadTextContent('../queries/rate-limited.kql'), text: 'Last.fm limits the rate.' }
  { name: 'budget-starved', severity: 3, every: 'PT1H', window: 'PT1H', look: 'PT1H', query: loadTextContent('../queries/budget-starved.kql'), text: 'A work item waited a day for requests.' }
  { name: 'reconcile-missed', severity: 3, every: 'PT1H', window: 'P1D', look: 'P2D', query: loadTextContent('../queries/reconcile-missed.kql'), text: 'No reconcile was done for two days.' }
  { name: 'reconcile-troubled', severity: 3, every: 'PT1H', window: 'P1D', look: 'P2D', query: loadTextContent('../queries/reconcile-troubled.kql'), text: 'The reconcile of a user was refused or given up again.' }
  { name: 'vault-refused', severity: 2, every: 'PT15M', window: 'PT15M', look: 'PT15M', query: loadTextContent('../queries/vault-refused.kql'), text: 'The vault refused somebody.' }
  { name: 'vault-stranger', severity: 1, every: 'PT15M', window: 'PT15M', look: 'PT15M', query: replace(loadTextContent('../queries/vault-stranger.kql'), 'PRINCIPAL_ID', principalId), text: 'A secret was read by somebody who is not the app.' }
  { name: 'vault-changed', severity: 3, every: 'PT15M', window: 'PT15M', look: 'PT15M', query: loadTextContent('../queries/vault-changed.kql'), text: 'The vault or a secret was changed.' }
]

// What Resource Manager itself notes: somebody opened an account, took off a lock, or gave a right.
var operations = [
  { name: 'storage-changed', operation: 'Microsoft.Storage/storageAccounts/write', text: 'A storage account was changed, perhaps its public access.' }
  { name: 'vault-written', operation: 'Microsoft.KeyVault/vaults/write', text: 'The vault was changed, perhaps its firewall.' }
  { name: 'vault-deleted', operation: 'Microsoft.KeyVault/vaults/delete', text: 'The vault was deleted.' }
  { name: 'lock-deleted', operation: 'Microsoft.Authorization/locks/delete', text: 'A lock was taken off.' }
  { name: 'right-given', operation: 'Microsoft.Authorization/roleAssignments/write', text: 'Somebody was given a right.' }
]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'people'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'lastfm'
    enabled: true
    emailReceivers: empty(email) ? [] : [{ name: 'email', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: rule.name
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'lastfm-archive: ${rule.name}'
    description: rule.text
    severity: rule.severity
    // A rule that looks back further than its own window misses something, and a paused app does on purpose.
    enabled: !paused || rule.look == rule.window
    scopes: [workspaceId]
    evaluationFrequency: rule.every
    windowSize: rule.window
    overrideQueryTimeRange: rule.look == rule.window ? null : rule.look
    autoMitigate: true
    // A new workspace has no line yet, and so does not know the tables.
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: { actionGroups: [people.id] }
  }
}]

resource activityAlerts 'Microsoft.Insights/activityLogAlerts@2020-10-01' = [for rule in operations: {
  name: rule.name
  location: 'global'
  tags: tags
  properties: {
    description: rule.text
    enabled: true
    scopes: [resourceGroup().id]
    condition: {
      allOf: [
        { field: 'category', equals: 'Administrative' }
        { field: 'operationName', equals: rule.operation }
        { field: 'status', equals: 'Succeeded' }
      ]
    }
    actions: { actionGroups: [{ actionGroupId: people.id }] }
  }
}]

// The reminder to rotate the key: Key Vault says so 30 days before a secret expires, and hooks/write-key lets it expire after 90.
resource vaultEvents 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'vault-events'
  location: location
  tags: tags
  properties: {
    source: vaultId
    topicType: 'Microsoft.KeyVault.vaults'
  }
}

resource nearExpiry 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: vaultEvents
  name: 'near-expiry'
  properties: {
    // The only schema that an alert takes.
    eventDeliverySchema: 'CloudEventSchemaV1_0'
    filter: { includedEventTypes: ['Microsoft.KeyVault.SecretNearExpiry', 'Microsoft.KeyVault.SecretExpired'] }
    destination: {
      endpointType: 'MonitorAlert'
      properties: {
        severity: 'Sev2'
        description: 'The Last.fm key is due for rotation.'
        actionGroups: [people.id]
      }
    }
  }
}
