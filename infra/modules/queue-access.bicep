// The right on one queue: to take messages off it, to put them there, and to hold them.
param principalId string
param hostStorageName string
param queue string

// Contributor, because Reader with Message Processor can neither release a message nor renew it.
var storageQueueDataContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '974c5e8b-45b9-4653-ba55-5f855dd0fb88')

resource hostStorage 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: hostStorageName
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' existing = {
  parent: hostStorage
  name: 'default'
}

resource messages 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' existing = {
  parent: queueService
  name: queue
}

resource right 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(messages.id, principalId, storageQueueDataContributor)
  scope: messages
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: storageQueueDataContributor
  }
}
