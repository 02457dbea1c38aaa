// `lastfm-archive sync` on a schedule. A run that fails is not tried again at once: the next one goes on where it stopped.
// Not `verify --repair`: it asks once for each month of each history, which is nothing to do daily beside an app with the same key.
param location string
param tags object
param environmentId string
param identityId string
param identityClientId string
param loginServer string
param schedule string
param requestsPerSecond string
param includeRaw bool
param vaultUri string
param archiveStorageName string
param lastfmUsers string

@description('Repository and digest: a tag could change under us.')
param image string

resource job 'Microsoft.App/jobs@2025-01-01' = {
  name: 'lastfm-archive-sync'
  location: location
  tags: tags
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: 'Consumption'
    configuration: {
      triggerType: 'Schedule'
      scheduleTriggerConfig: { cronExpression: schedule, parallelism: 1, replicaCompletionCount: 1 }
      replicaRetryLimit: 0
      replicaTimeout: 21600
      registries: [{ server: loginServer, identity: identityId }]
      secrets: [{ name: 'lastfm-api-key', keyVaultUrl: '${vaultUri}secrets/lastfm-api-key', identity: identityId }]
    }
    template: {
      containers: [
        {
          name: 'sync'
          image: '${loginServer}/${image}'
          args: ['sync']
          resources: { cpu: json('0.25'), memory: '0.5Gi' }
          // The root file system of the image is not written to: the archive is in storage, and there is no mount.
          env: [
            { name: 'LASTFM_API_KEY', secretRef: 'lastfm-api-key' }
            { name: 'LASTFM_USERS', value: lastfmUsers }
            { name: 'LASTFM_REQUESTS_PER_SECOND', value: requestsPerSecond }
            { name: 'INCLUDE_RAW', value: includeRaw ? 'true' : 'false' }
            { name: 'ARCHIVE_STORAGE__accountName', value: archiveStorageName }
            { name: 'ARCHIVE_STORAGE__credential', value: 'managedidentity' }
            { name: 'ARCHIVE_STORAGE__clientId', value: identityClientId }
            { name: 'AZURE_CLIENT_ID', value: identityClientId }
          ]
        }
      ]
    }
  }
}

output name string = job.name
