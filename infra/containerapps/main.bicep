// The other way to run it: the command line on a schedule, from an image without shell, in an environment without public
// address. Off by default (containerJob), in private mode only. The job and the function app are two apps with two request
// budgets: run one of them, or halve the rate (requestsPerSecond) of both.
param token string
param location string
param tags object
param zoneRedundant bool = false
param environmentSubnetId string
param endpointSubnetId string
param vnetId string
param workspaceId string
param identityId string
param identityClientId string
param identityPrincipalId string
param vaultUri string
param archiveStorageName string
param image string = ''
param schedule string
param requestsPerSecond string
param includeRaw bool
param lastfmUsers string

module registry 'registry.bicep' = {
  name: 'registry'
  params: {
    token: token
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    workspaceId: workspaceId
    principalId: identityPrincipalId
  }
}

module registryZone '../modules/private-dns-zone.bicep' = {
  name: 'zone-registry'
  params: { name: 'privatelink${environment().suffixes.acrLoginServer}', tags: tags, vnetId: vnetId }
}

module registryEndpoint '../modules/private-endpoint.bicep' = {
  name: 'endpoint-registry'
  params: {
    name: 'pe-registry'
    location: location
    tags: tags
    subnetId: endpointSubnetId
    targetId: registry.outputs.id
    groupId: 'registry'
    zoneId: registryZone.outputs.id
  }
}

module jobEnvironment 'environment.bicep' = {
  name: 'job-environment'
  params: {
    token: token
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    subnetId: environmentSubnetId
    workspaceId: workspaceId
  }
}

// The image can only be imported once the registry is there, so the first deployment makes no job.
module job 'job.bicep' = if (!empty(image)) {
  name: 'job'
  params: {
    location: location
    tags: tags
    environmentId: jobEnvironment.outputs.id
    identityId: identityId
    identityClientId: identityClientId
    loginServer: registry.outputs.loginServer
    image: image
    schedule: schedule
    requestsPerSecond: requestsPerSecond
    includeRaw: includeRaw
    vaultUri: vaultUri
    archiveStorageName: archiveStorageName
    lastfmUsers: lastfmUsers
  }
  dependsOn: [registryEndpoint]
}

output registryName string = registry.outputs.name
