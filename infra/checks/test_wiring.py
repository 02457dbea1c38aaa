"""Templates, program and each other: what holds between them; and each way to break it is noticed."""

import shutil
import tempfile
import unittest
from pathlib import Path

import bicep
import wiring

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"

# What somebody could change without noticing: file, old text, new text, and what is said about it.
APP, NETWORK, ACCESS = "modules/function-app.bicep", "modules/network.bicep", "modules/access.bicep"
STORAGE = "modules/storage.bicep"
MISTAKES = [
    # The settings of the app and of the job.
    (APP, "    SYNC_SCHEDULE: syncSchedule\n", "", "enqueue_users needs the setting `SYNC_SCHEDULE`"),
    (APP, "'AzureWebJobs.fetch_pages.Disabled'", "'AzureWebJobs.fetch_page.Disabled'", "fetch_pages cannot be paused"),
    (APP, "fetch_pages.Disabled': paused ? 'true' : 'false'", "fetch_pages.Disabled': paused ? 'false' : 'true'", "is not what `paused` says"),
    (APP, "LASTFM_USERS:", "LASTFM_USER:", "function-app.bicep: the program knows no setting `LASTFM_USER`"),
    (APP, "ARCHIVE_STORAGE__credential: 'managedidentity'", "ARCHIVE_STORAGE__credential: 'key'", "`ARCHIVE_STORAGE__credential` is no managed identity"),
    ("containerapps/job.bicep", "'LASTFM_USERS'", "'USERS'", "job.bicep: the program knows no setting `USERS`"),
    # Rights.
    (ACCESS, "roleDefinitionId: storageBlobDataContributor", "roleDefinitionId: storageBlobDataOwner", "storageBlobDataOwner on archiveStorage is not on the list"),
    (ACCESS, "  scope: archiveStorage\n", "  scope: hostStorage\n", "storageBlobDataContributor on archiveStorage is missing"),
    ("modules/queue-access.bicep", "scope: messages", "scope: hostStorage", "storageQueueDataContributor on hostStorage is not on the list"),
    ("main.bicep", "var queues = [workQueue, '${workQueue}-poison', ", "var queues = [workQueue, ", "the queues of fetch_pages are not among `queues`"),
    ("main.bicep", ", reconcileQueue, '${reconcileQueue}-poison']", ", reconcileQueue]", "the queues of reconcile_user are not among `queues`"),
    ("main.bicep", "-poison']", "-poison', 'reports']", "no function has the queue reports"),
    (APP, "    RECONCILE_SCHEDULE: reconcileSchedule\n", "", "reconcile_users needs the setting `RECONCILE_SCHEDULE`"),
    (APP, "'AzureWebJobs.reconcile_user.Disabled'", "'AzureWebJobs.reconcile.Disabled'", "reconcile_user cannot be paused"),
    ("main.bicep", "    queues: queues\n    // What", "    queues: [workQueue]\n    // What", "hostStorage has other queues than the rest"),
    # One choice.
    ("main.bicep", "isPrivate ? 'Disabled' : 'Enabled'", "isPrivate ? 'Enabled' : 'Disabled'", "`publicNetworkAccess` must be"),
    ("main.bicep", "isPrivate ? 'Deny' : 'Allow'", "'Allow'", "`firewall` must be"),
    ("main.bicep", "var isPrivate = network == 'private'", "var isPrivate = network == 'public'", "`isPrivate` must be"),
    ("main.bicep", "    firewall: firewall\n    workspaceId", "    workspaceId", "vault is not told of `firewall`"),
    ("main.bicep", "private-endpoints.bicep' = if (isPrivate)", "private-endpoints.bicep' =", "endpoints belongs to private mode"),
    # Ways.
    ("modules/private-endpoints.bicep", "groupId: 'queue'", "groupId: 'blob'", "queue of hostStorageId is missing"),
    (NETWORK, "sourceAddressPrefixes: [appPrefix, jobPrefix]", "sourceAddressPrefixes: [jobPrefix]", "endpointRules: appPrefix to endpointPrefix:443 must pass"),
    (NETWORK, "destinationAddressPrefix: endpointPrefix", "destinationAddressPrefix: jobPrefix", "appRules: appPrefix to endpointPrefix:443 must pass"),
    (NETWORK, "destinationPortRange: '443'", "destinationPortRange: '*'", "appRules: appPrefix to endpointPrefix:22 must be denied"),
    (NETWORK, "access: 'Deny'", "access: 'Allow'", "appRules: appPrefix to Internet:80 must be denied"),
    (NETWORK, "destinationAddressPrefix: 'Internet'", "destinationAddressPrefix: 'AzureCloud'", "appRules: appPrefix to Internet:443 must pass"),
    (NETWORK, "destinationAddressPrefix: 'Internet'", "destinationAddressPrefix: '*'", "appRules: appPrefix to jobPrefix:443 must be denied"),
    (NETWORK, "          networkSecurityGroup: { id: endpointRules.id }\n", "", "subnet endpoints: networkSecurityGroup must be"),
    (NETWORK, "'NetworkSecurityGroupEnabled'", "'Disabled'", "subnet endpoints: privateEndpointNetworkPolicies must be"),
    (NETWORK, "defaultOutboundAccess: true", "defaultOutboundAccess: false", "subnet app: defaultOutboundAccess must be True"),
    (NETWORK, "serviceName: 'Microsoft.App/environments'", "serviceName: 'Microsoft.Web/serverFarms'", "subnet app is delegated to"),
    # Logs and alerts.
    ("modules/vault.bicep", "category: 'AuditEvent', enabled: true", "category: 'AuditEvent', enabled: false", "AuditEvent of Microsoft.KeyVault/vaults is not logged"),
    ("modules/vault.bicep", "'AllMetrics'", "'Transaction'", "AllMetrics of Microsoft.KeyVault/vaults is not logged"),
    ("modules/vault.bicep", "'Dedicated'", "'AzureDiagnostics'", "a table of the vault's own"),
    (STORAGE, "      { category: 'StorageDelete', enabled: true }\n    ]\n    metrics", "    ]\n    metrics", "StorageDelete of Microsoft.Storage/storageAccounts/blobServices"),
    ("modules/monitoring.bicep", "scope: workspace", "scope: insights", "nobody logs Microsoft.OperationalInsights/workspaces"),
    ("modules/alerts.bicep", "'../queries/poison.kql'", "'../queries/rate-limited.kql'", "poison asks another query"),
    ("modules/alerts.bicep", "look: 'P2D'", "look: 'PT1H'", "timer-missed looks back PT1H, its query 26 hours"),
    ("main.bicep", "    versioning: true\n", "    versioning: false\n", "the archive keeps versions"),
    # Versions of what is overwritten.
    ("main.bicep", "    overwrittenContainer: controlContainer\n", "", "would stay for good"),
    ("main.bicep", "overwrittenContainer: controlContainer", "overwrittenContainer: archiveContainer", "would stay for good"),
    ("main.bicep", "var controlContainer = 'control'", "var controlContainer = 'scrobbles'", "`controlContainer` is a container of its own"),
    (STORAGE, "prefixMatch: ['${overwrittenContainer}/']", "prefixMatch: ['${overwrittenContainer}/', 'scrobbles/']", "the rule reaches more"),
    (STORAGE, "prefixMatch: ['${overwrittenContainer}/']", "prefixMatch: [overwrittenContainer]", "the rule reaches more"),
    (STORAGE, ", prefixMatch: ['${overwrittenContainer}/']", "", "the rule reaches more"),
    (STORAGE, "blobTypes: ['blockBlob']", "blobTypes: ['appendBlob']", "the rule reaches more"),
    (STORAGE, "actions: { version:", "actions: { baseBlob:", "and nothing else"),
    (STORAGE, "actions: { version:", "actions: { baseBlob: { delete: { daysAfterModificationGreaterThan: 1 } }, version:", "and nothing else"),
    (STORAGE, "daysAfterCreationGreaterThan: 1 ", "daysAfterCreationGreaterThan: 365 ", "versions of the last days"),
    (STORAGE, "          enabled: true\n          definition", "          enabled: false\n          definition", "and is enabled"),
    (STORAGE, "storageAccounts/managementPolicies@", "storageAccounts/inventoryPolicies@", "one rule deletes versions"),
    (STORAGE, "if (versioning && !empty(overwrittenContainer))", "if (versioning)", "without a container there is no rule"),
]


def problems(infra):
    return wiring.check([bicep.File(path) for path in sorted(infra.rglob("*.bicep"))], ROOT)


class Wiring(unittest.TestCase):
    def test_templates_and_program_speak_of_the_same_things(self):
        self.assertEqual(problems(INFRA), [])

    def test_each_mistake_is_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            infra = Path(folder) / "infra"
            shutil.copytree(INFRA, infra, ignore=shutil.ignore_patterns("__pycache__"))
            for name, old, new, words in MISTAKES:
                with self.subTest(name=name, new=new):
                    path = infra / name
                    content = path.read_text()
                    self.assertIn(old, content)
                    path.write_text(content.replace(old, new, 1))
                    found = problems(infra)
                    path.write_text(content)
                    self.assertTrue([problem for problem in found if words in problem], found)
        print(f"\n  wiring: {len(MISTAKES)} mistakes noticed")


if __name__ == "__main__":
    unittest.main()
