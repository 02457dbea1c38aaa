"""What holds between resources, and between templates and program: what no rule about a single resource can see."""

import json
import re

from bicep import Expression

# Every right of the app: on what, and which role.
RIGHTS = {
    ("hostStorage", "storageBlobDataOwner"),
    ("archiveStorage", "storageBlobDataContributor"),
    ("vault", "keyVaultSecretsUser"),
    ("insights", "monitoringMetricsPublisher"),
    ("messages", "storageQueueDataContributor"),
    ("registry", "acrPull"),
}
# Every private endpoint: to what, and to which part of it.
ENDPOINTS = {("vaultId", "vault"), ("hostStorageId", "blob"), ("hostStorageId", "queue"), ("archiveStorageId", "blob"), ("registry.outputs.id", "registry")}
# What is logged of whom, and which metrics.
LOGGED = {
    "Microsoft.KeyVault/vaults": ({"AuditEvent"}, {"AllMetrics"}),
    "Microsoft.Storage/storageAccounts/blobServices": ({"StorageRead", "StorageWrite", "StorageDelete"}, {"Transaction"}),
    "Microsoft.Storage/storageAccounts/queueServices": ({"StorageWrite", "StorageDelete"}, set()),
    "Microsoft.OperationalInsights/workspaces": ({"Audit"}, set()),
    "Microsoft.App/managedEnvironments": ({"ContainerAppConsoleLogs", "ContainerAppSystemLogs"}, set()),
    "Microsoft.ContainerRegistry/registries": ({"ContainerRegistryLoginEvents", "ContainerRegistryRepositoryEvents"}, set()),
}
# Who may begin what: security group, direction, from, to, port, and whether it passes.
WAYS = [
    ("appRules", "Outbound", "appPrefix", "endpointPrefix", "443", True),
    ("appRules", "Outbound", "appPrefix", "AzureActiveDirectory", "443", True),
    ("appRules", "Outbound", "appPrefix", "AzureMonitor", "443", True),
    ("appRules", "Outbound", "appPrefix", "Internet", "443", True),
    ("appRules", "Outbound", "appPrefix", "Internet", "80", False),
    ("appRules", "Outbound", "appPrefix", "endpointPrefix", "22", False),
    ("appRules", "Outbound", "appPrefix", "jobPrefix", "443", False),
    ("endpointRules", "Inbound", "appPrefix", "endpointPrefix", "443", True),
    ("endpointRules", "Inbound", "jobPrefix", "endpointPrefix", "443", True),
    ("endpointRules", "Inbound", "appPrefix", "endpointPrefix", "22", False),
    ("endpointRules", "Inbound", "VirtualNetwork", "endpointPrefix", "443", False),
    ("endpointRules", "Outbound", "endpointPrefix", "Internet", "443", False),
    ("jobRules", "Outbound", "jobPrefix", "jobPrefix", "31000", True),
    ("jobRules", "Outbound", "jobPrefix", "endpointPrefix", "443", True),
    ("jobRules", "Outbound", "jobPrefix", "Internet", "443", True),
    ("jobRules", "Outbound", "jobPrefix", "Internet", "80", False),
    ("jobRules", "Outbound", "jobPrefix", "appPrefix", "443", False),
]


def check(files, root):
    """Problems of all of it, one line each."""
    by_name = {str(file.path).rsplit("infra/", 1)[1]: file for file in files}
    problems = settings(by_name, root) + rights(files) + one_choice(by_name["main.bicep"], files) + queues(by_name, root)
    problems += endpoints(files) + ways(by_name["modules/network.bicep"]) + subnets(by_name["modules/network.bicep"])
    return problems + logged(files) + alerts(by_name["modules/alerts.bicep"]) + archive(by_name["main.bicep"]) + overwritten(by_name)


def find(file, kind, name):
    return next(found for found in file.all(kind) if found.name == name)


def functions(root):
    return {folder.name: json.loads((folder / "function.json").read_text()) for folder in sorted((root / "function-triggers").iterdir())}


def settings(by_name, root):
    """The app and the job have the settings that the triggers name, the program knows each of them, and every function can be paused."""
    app = find(by_name["modules/function-app.bicep"], "resource", "settings").value["properties"]
    problems = []
    for name, content in functions(root).items():
        for wanted in re.findall(r"%(\w+)%", json.dumps(content)):
            if wanted not in app:
                problems.append(f"function-app.bicep: {name} needs the setting `{wanted}`")
        if f"AzureWebJobs.{name}.Disabled" not in app:
            problems.append(f"function-app.bicep: {name} cannot be paused")
    for name, value in app.items():
        if name.startswith("AzureWebJobs.") and value != "paused ? 'true' : 'false'":
            problems.append(f"function-app.bicep: `{name}` is not what `paused` says")
    program = (root / "src/settings/mod.rs").read_text()
    known = set(re.search(r"const NAMES: \[&str; \d+\] = \[(.*?)\];", program, re.S)[1].replace('"', "").replace(",", " ").split())
    # Read by the host alone, or by the library of Azure.
    known |= {"SYNC_SCHEDULE", "RECONCILE_SCHEDULE", "AZURE_CLIENT_ID"}
    [container] = find(by_name["containerapps/job.bicep"], "resource", "job").value["properties"]["template"]["containers"]
    job = {entry["name"]: entry.get("value") for entry in container["env"]}
    for where, given in (("function-app.bicep", app), ("job.bicep", job)):
        for name, value in given.items():
            if not name.startswith(("AzureWebJobs.", "APPLICATIONINSIGHTS_")) and name.split("__")[0] not in known:
                problems.append(f"{where}: the program knows no setting `{name}`")
            if name.endswith("__credential") and value != "managedidentity":
                problems.append(f"{where}: `{name}` is no managed identity")
    return problems


def rights(files):
    """The rights of the app are those of the list: no right more, none less, none elsewhere."""
    found = set()
    for file in files:
        for resource in file.all("resource"):
            if resource.type.startswith("Microsoft.Authorization/roleAssignments@"):
                found.add((resource.value.get("scope"), resource.value["properties"]["roleDefinitionId"]))
    problems = [f"rights: {role} on {scope} is not on the list" for scope, role in sorted(found - RIGHTS)]
    return problems + [f"rights: {role} on {scope} is missing" for scope, role in sorted(RIGHTS - found)]


def queues(by_name, root):
    """Each queue of a trigger is made and opened, with its poison queue, and no other."""
    main, app = by_name["main.bicep"], find(by_name["modules/function-app.bicep"], "resource", "settings").value["properties"]
    listed, named = find(main, "variable", "queues").value, set()
    problems = []
    for module in ("hostStorage", "access"):
        if find(main, "module", module).value["params"].get("queues") != "queues":
            problems.append(f"main.bicep: {module} has other queues than the rest")
    for name, content in functions(root).items():
        for binding in content["bindings"]:
            variable = app.get(binding.get("queueName", "").strip("%"))
            wanted = {variable, f"'${{{variable}}}-poison'"} if variable else set()
            named |= wanted
            if not wanted <= set(listed):
                problems.append(f"main.bicep: the queues of {name} are not among `queues`")
    return problems + [f"main.bicep: no function has the queue {queue}" for queue in listed if queue not in named]


def one_choice(main, files):
    """`network` decides everything together: whoever has a firewall is told, and the network is there in private mode only."""
    problems = []
    for name, wanted in (
        ("isPrivate", "network == 'private'"),
        ("publicNetworkAccess", "isPrivate ? 'Disabled' : 'Enabled'"),
        ("firewall", "isPrivate ? 'Deny' : 'Allow'"),
    ):
        if find(main, "variable", name).value != wanted:
            problems.append(f"main.bicep: `{name}` must be `{wanted}`")
    for module in main.all("module"):
        target = next(file for file in files if file.path == (main.path.parent / module.type))
        for name in ("publicNetworkAccess", "firewall"):
            if any(found.name == name for found in target.all("parameter")) and module.value["params"].get(name) != name:
                problems.append(f"main.bicep: {module.name} is not told of `{name}`")
        if module.name in ("vnet", "endpoints", "job") and not re.search(rf"module {module.name} '[^']+' = if \((containerJob && )?isPrivate\)", main.text):
            problems.append(f"main.bicep: {module.name} belongs to private mode")
    return problems


def endpoints(files):
    found = set()
    for file in files:
        for module in file.all("module"):
            if module.type.endswith("private-endpoint.bicep"):
                found.add((module.value["params"]["targetId"], module.value["params"]["groupId"]))
    return [f"private endpoints: {group} of {target} is missing" for target, group in sorted(ENDPOINTS - found)]


def passes(rules, direction, source, destination, port):
    """What a security group says: the first rule by priority that fits. None: no rule does, and Azure's own would."""

    def fits(rule, name, value):
        return value in rule.get(f"{name}es", []) or rule.get(name) in (value, "*")

    for rule in sorted((rule["properties"] for rule in rules), key=lambda rule: rule["priority"]):
        if (
            rule["direction"] == direction
            and rule["sourcePortRange"] == "*"
            and fits(rule, "sourceAddressPrefix", source)
            and fits(rule, "destinationAddressPrefix", destination)
            and rule["destinationPortRange"] in (port, "*")
        ):
            return rule["access"] == "Allow"
    return None


def ways(network):
    problems = []
    for group, direction, source, destination, port, wanted in WAYS:
        rules = find(network, "resource", group).value["properties"]["securityRules"]
        if passes(rules, direction, source, destination, port) is not wanted:
            problems.append(f"network.bicep: {group}: {source} to {destination}:{port} must {'pass' if wanted else 'be denied'}")
    return problems


def subnets(network):
    """Each subnet has its rules, the endpoints obey theirs, and only who must has a way to the Internet."""
    problems = []
    for subnet in find(network, "resource", "network").value["properties"]["subnets"]:
        name, properties = subnet["name"], subnet["properties"]
        closed = name == "endpoints"
        wanted = {
            "networkSecurityGroup": {"id": f"{'endpoint' if closed else name}Rules.id"},
            "addressPrefix": f"{'endpoint' if closed else name}Prefix",
            "defaultOutboundAccess": not closed,
            "privateEndpointNetworkPolicies": "NetworkSecurityGroupEnabled" if closed else None,
        }
        problems += [f"network.bicep: subnet {name}: {key} must be {value}" for key, value in wanted.items() if properties.get(key) != value]
        delegated = [entry["properties"]["serviceName"] for entry in properties.get("delegations", [])]
        if delegated != ([] if closed else ["Microsoft.App/environments"]):
            problems.append(f"network.bicep: subnet {name} is delegated to {delegated}")
    return problems


def logged(files):
    """Everything that can be misused logs what is in the list, and sends it to the workspace."""
    problems, seen = [], set()
    for file in files:
        types = {resource.name: resource.type.split("@")[0] for resource in file.all("resource")}
        for resource in file.all("resource"):
            if not resource.type.startswith("Microsoft.Insights/diagnosticSettings@"):
                continue
            target, properties = types[resource.value["scope"]], resource.value["properties"]
            if target not in LOGGED:
                problems.append(f"{file.path.name}: what is logged of {target} is not on the list")
                continue
            seen.add(target)
            on = [{entry["category"] for entry in properties.get(kind, []) if entry["enabled"] is True} for kind in ("logs", "metrics")]
            for wanted, found in zip(LOGGED[target], on, strict=True):
                problems += [f"{file.path.name}: {category} of {target} is not logged" for category in sorted(wanted - found)]
            if target == "Microsoft.KeyVault/vaults" and properties.get("logAnalyticsDestinationType") != "Dedicated":
                problems.append(f"{file.path.name}: the queries look into a table of the vault's own")
    return problems + [f"nobody logs {target}" for target in sorted(set(LOGGED) - seen)]


def alerts(file):
    """Each alert asks the query of its name, and looks back as far as the query does."""
    problems = []
    for rule in find(file, "variable", "rules").value:
        query = file.path.parent.parent / "queries" / f"{rule['name']}.kql"
        if f"'../queries/{query.name}'" not in rule["query"] or not query.exists():
            problems.append(f"alerts.bicep: {rule['name']} asks another query")
            continue
        back = max((int(hours) for hours in re.findall(r"\bago\((\d+)h\)", query.read_text())), default=0)
        if back > hours_of(rule["look"]):
            problems.append(f"alerts.bicep: {rule['name']} looks back {rule['look']}, its query {back} hours")
    return problems


def hours_of(duration):
    number, unit = re.fullmatch(r"PT?(\d+)([MHD])", duration).groups()
    return int(number) * {"M": 1 / 60, "H": 1, "D": 24}[unit]


def archive(main):
    params = find(main, "module", "archiveStorage").value["params"]
    if params.get("versioning") is not True or params.get("locked") != Expression("archiveLock"):
        return ["main.bicep: the archive keeps versions and can be locked"]
    return []


def overwritten(by_name):
    """Previous versions go where blobs are overwritten all the time, and nowhere else: no rule reaches the archive, or what is current."""
    main, storage = by_name["main.bicep"], by_name["modules/storage.bicep"]
    problems = []
    if find(main, "module", "archiveStorage").value["params"].get("overwrittenContainer") != Expression("controlContainer"):
        problems.append("main.bicep: versions of the budget and of status documents would stay for good")
    if find(main, "variable", "controlContainer").value in ("", find(main, "variable", "archiveContainer").value):
        problems.append("main.bicep: `controlContainer` is a container of its own")
    policies = [found for found in storage.all("resource") if found.type.startswith("Microsoft.Storage/storageAccounts/managementPolicies@")]
    rules = [rule for policy in policies for rule in policy.value["properties"]["policy"]["rules"]]
    if len(rules) != 1 or rules[0].get("enabled") is not True:
        return [*problems, "storage.bicep: one rule deletes versions, and is enabled"]
    filters, actions = rules[0]["definition"].get("filters", {}), rules[0]["definition"]["actions"]
    # The slash ends the container's name: `control` would fit `control-archive` as well.
    if filters.get("prefixMatch") != [Expression("'${overwrittenContainer}/'")] or filters.get("blobTypes") != ["blockBlob"]:
        problems.append("storage.bicep: the rule reaches more than the block blobs of `overwrittenContainer`, or less")
    days = actions.get("version", {}).get("delete", {}).get("daysAfterCreationGreaterThan")
    if list(actions) != ["version"] or days not in range(1, 8):
        problems.append("storage.bicep: the rule deletes versions of the last days, and nothing else")
    if "= if (versioning && !empty(overwrittenContainer)) {" not in storage.text:
        problems.append("storage.bicep: without a container there is no rule: a prefix that names none would be `/`")
    return problems
