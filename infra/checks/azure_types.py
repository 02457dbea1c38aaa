"""Holds every resource against the published types of Azure: unknown, misspelt, read-only and missing properties, and values
that are none of those allowed. The types come with the npm package @azure/mcp; those it lacks stand in more-types.json."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bicep import Expression

HERE = Path(__file__).parent
# Words of the language that are no property of any resource.
LANGUAGE = {"parent", "scope", "dependsOn"}


class Unknown(Exception):
    """No type of that name."""


def fetch(resource_type, cache):
    """What the package knows of a resource type: offline, and kept, because each question takes seconds."""
    file = cache / f"{resource_type.replace('/', '_')}.json"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = [str(cache.parent / "node_modules/.bin/azmcp"), "bicepschema", "get", "--resource-type", resource_type]
        environment = os.environ | {"AZURE_MCP_COLLECT_TELEMETRY": "false", "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        answer = json.loads(run.stdout) if run.stdout.startswith("{") else {}
        if answer.get("status") != 200:
            raise Unknown(f"{resource_type}: {answer.get('message') or run.stderr.strip()[:200]}")
        file.write_text(json.dumps(answer["results"]["BicepSchemaResult"]))
    found = json.loads(file.read_text())
    table = {entry["name"]: entry for entry in found if entry["$type"] != "ResourceInstanceFunction"}
    resource = next(entry for entry in found if entry["$type"] == "Resource")
    return resource["name"].split("@")[1], resource["bodyType"], table


class Checker:
    """Problems of one resource, one line each."""

    def __init__(self, where, table):
        self.where, self.table, self.problems = where, table, []

    def say(self, path, what):
        self.problems.append(f"{self.where}: {path or 'the resource'} {what}")

    def object(self, value, definition, path):
        if not isinstance(value, dict):
            if not isinstance(value, Expression):
                self.say(path, f"must be an object, not `{value}`")
            return
        if definition["$type"] == "DiscriminatedObject":
            key = definition["discriminator"]
            chosen = [part for part in definition["elements"] if value.get(key) in options(part, key)]
            if not chosen:
                self.say(path, f"has no `{key}` that exists: `{value.get(key)}`")
                return
            properties = definition["baseProperties"] + chosen[0]["properties"]
        else:
            properties = definition["properties"]
        known = {entry["name"]: entry for entry in properties}
        extra = definition.get("additionalPropertiesType")
        for name, content in value.items():
            inner = f"{path}.{name}" if path else name
            if not path and name in LANGUAGE:
                continue
            if name in known:
                if "ReadOnly" in known[name].get("flags", ""):
                    self.say(inner, "is read-only")
                self.value(content, known[name]["type"], inner)
            elif extra is None:
                near = [other for other in known if other.lower() == name.lower()]
                self.say(inner, f"is no property; `{near[0]}` is" if near else "is no property")
        for name, entry in known.items():
            if "Required" in entry.get("flags", "") and name not in value:
                self.say(f"{path}.{name}" if path else name, "is missing")

    def value(self, value, kind, path):
        if isinstance(value, Expression) or value is None or kind == "any":
            return
        if isinstance(kind, dict) and kind["$type"] == "List":
            self.list(value, kind["item"], path)
        elif isinstance(kind, dict):
            self.object(value, kind, path)
        elif kind.endswith("[]"):
            self.list(value, kind[:-2], path)
        elif kind in self.table:
            self.object(value, self.table[kind], path)
        else:
            self.scalar(value, kind.split(" | "), path)

    def list(self, value, kind, path):
        if not isinstance(value, list):
            self.say(path, f"must be a list, not `{value}`")
            return
        for index, item in enumerate(value):
            self.value(item, kind, f"{path}.{index}")

    def scalar(self, value, allowed, path):
        bases = {"string": str, "int": int, "bool": bool}
        words = [name for name in allowed if name not in bases]
        fits = any(type(value) is bases[name] for name in allowed if name in bases) or str(value) in words
        # A list of words that ends with `string` takes anything; but what is none of the words is more likely a mistake than new.
        if not fits or (words and isinstance(value, str) and value not in words):
            self.say(path, f"must be {' | '.join(allowed)}, not `{value}`")


def options(part, key):
    kinds = [entry["type"] for entry in part["properties"] if entry["name"] == key]
    return kinds[0].split(" | ") if kinds else []


def check(files, cache, more):
    """The problems of all resources, and the types with the version that we name and the one that was at hand."""
    problems, seen = [], {}
    for file in files:
        for resource in file.all("resource"):
            name, version = resource.type.split("@")
            try:
                known, body, table = more[resource.type] if resource.type in more else fetch(name, cache)
            except Unknown as error:
                problems.append(f"{file.path.name}:{resource.line}: {error}")
                continue
            seen[resource.type] = known
            if resource.existing:
                continue
            checker = Checker(f"{file.path.name}:{resource.line}: {resource.type}", table)
            checker.object(resource.value, body, "")
            problems += checker.problems
    return problems, seen


def more_types():
    """The types of more-types.json, in the package's own form."""
    written = json.loads((HERE / "more-types.json").read_text())
    return {name: (name.split("@")[1], expand(body), {}) for name, body in written.items() if name != "//"}


def expand(entry):
    if isinstance(entry, str):
        return entry
    if isinstance(entry, list):
        return {"$type": "List", "item": expand(entry[0])}
    properties = [
        {"name": name.removesuffix("!"), "type": expand(kind), "flags": "Required" if name.endswith("!") else ""} for name, kind in entry.items()
    ]
    return {"$type": "Object", "properties": properties}


def fetch_all():
    """Fills the cache with every type that a template names, a few at a time: each takes seconds."""
    import bicep

    files = [bicep.File(path) for path in sorted(HERE.parent.rglob("*.bicep"))]
    wanted = {resource.type for file in files for resource in file.all("resource")} - set(more_types())
    cache = Path(os.environ["TYPES_CACHE"])
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for asked in [pool.submit(fetch, name.split("@")[0], cache) for name in sorted(wanted)]:
            # What is not known is a finding of the test, with its line.
            if asked.exception() and not isinstance(asked.exception(), Unknown):
                raise asked.exception()


if __name__ == "__main__":
    fetch_all()
