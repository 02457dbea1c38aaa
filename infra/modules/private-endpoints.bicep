// The private ways to vault and storage. No table endpoint: the host writes its diagnostic events there, which we do without.
param location string
param tags object
param subnetId string
param vnetId string
param vaultId string
param hostStorageId string
param archiveStorageId string

module vaultZone 'private-dns-zone.bicep' = {
  name: 'zone-vault'
  params: { name: 'privatelink.vaultcore.azure.net', tags: tags, vnetId: vnetId }
}

module blobZone 'private-dns-zone.bicep' = {
  name: 'zone-blob'
  params: { name: 'privatelink.blob.${environment().suffixes.storage}', tags: tags, vnetId: vnetId }
}

module queueZone 'private-dns-zone.bicep' = {
  name: 'zone-queue'
  params: { name: 'privatelink.queue.${environment().suffixes.storage}', tags: tags, vnetId: vnetId }
}

module vaultEndpoint 'private-endpoint.bicep' = {
  name: 'endpoint-vault'
  params: {
    name: 'pe-vault'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: vaultId
    groupId: 'vault'
    zoneId: vaultZone.outputs.id
  }
}

module hostBlobEndpoint 'private-endpoint.bicep' = {
  name: 'endpoint-host-blob'
  params: {
    name: 'pe-host-blob'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: hostStorageId
    groupId: 'blob'
    zoneId: blobZone.outputs.id
  }
}

module hostQueueEndpoint 'private-endpoint.bicep' = {
  name: 'endpoint-host-queue'
  params: {
    name: 'pe-host-queue'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: hostStorageId
    groupId: 'queue'
    zoneId: queueZone.outputs.id
  }
}

module archiveBlobEndpoint 'private-endpoint.bicep' = {
  name: 'endpoint-archive-blob'
  params: {
    name: 'pe-archive-blob'
    location: location
    tags: tags
    subnetId: subnetId
    targetId: archiveStorageId
    groupId: 'blob'
    zoneId: blobZone.outputs.id
  }
}
