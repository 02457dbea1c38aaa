// Writes the Last.fm key into the vault by way of Resource Manager, which works on a closed vault and needs no data role for a
// person. Deployed by hooks/write-key alone, which sends the value over standard input.
param vaultName string
param environmentName string

@description('The key. A secure parameter: not kept with the deployment.')
@secure()
param value string

param now string = utcNow()

// A reminder comes 30 days before (modules/alerts.bicep). An expired secret is still readable: the archive does not stop.
var expires = dateTimeToEpoch(dateTimeAdd(now, 'P90D'))

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = {
  parent: vault
  name: 'lastfm-api-key'
  tags: { Environment: environmentName, Application: 'lastfm-archive', rotationDate: now }
  properties: {
    value: value
    contentType: 'Last.fm API key'
    attributes: { enabled: true, exp: expires }
  }
}
