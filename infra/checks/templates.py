"""What `bicep build` would say and a little more: names that nobody declared, modules that are called wrongly, parameter files that
do not fit, secrets."""

import json
import re
from pathlib import Path

from bicep import Expression, walk

# Functions and words of the language itself.
LANGUAGE = {
    "az", "sys", "any", "array", "base64", "bool", "concat", "contains", "dateTimeAdd", "dateTimeFromEpoch", "dateTimeToEpoch", "empty", "environment",
    "first", "guid", "int", "json", "length", "loadTextContent", "replace", "resourceGroup", "resourceId", "string", "subscription",
    "subscriptionResourceId", "tenant", "toLower", "uniqueString", "utcNow",
}  # fmt: skip
LINES_MAX = 400


def names(file):
    """Undeclared names, and declared ones that nobody uses."""
    from bicep import PARSER, text

    declared = {found.name: found for found in file.declarations}
    used, problems = set(), []
    root = PARSER.parse(file.path.read_bytes()).root_node
    loops = {text(node) for node in walk(root) if node.type in ("loop_variable", "loop_enumerator")}
    loops |= {text(node.named_children[0]) for node in walk(root) if node.type == "for_statement"}
    for node in walk(root):
        if node.type != "identifier" or not is_use(node):
            continue
        name = text(node)
        used.add(name)
        if name not in declared and name not in LANGUAGE and name not in loops and not in_decorator(node):
            problems.append(f"{file.path.name}:{node.start_point[0] + 1}: nobody declares `{name}`")
    for name, found in declared.items():
        if name not in used and found.kind in ("parameter", "variable"):
            problems.append(f"{file.path.name}:{found.line}: nobody uses {found.kind} `{name}`")
    return problems


def is_use(node):
    parent = node.parent
    if parent.type == "object_property":
        return parent.named_children[0].id != node.id
    return not (parent.type.endswith("_declaration") and parent.named_children[0].id == node.id)


def in_decorator(node):
    while node is not None:
        if node.type == "decorator":
            return True
        node = node.parent
    return False


def modules(files):
    """Calls of modules: the file exists, every parameter without default is given, none is given that is not there, and every output
    that is read is made."""
    by_path = {file.path.resolve(): file for file in files}
    problems = []
    for file in files:
        for module in file.all("module"):
            where = f"{file.path.name}:{module.line}: module `{module.name}`"
            target = by_path.get((file.path.parent / module.type).resolve())
            if target is None:
                problems.append(f"{where}: there is no `{module.type}`")
                continue
            given = set(module.value.get("params", {}))
            wanted = {found.name: found for found in target.all("parameter")}
            missing = {name for name, found in wanted.items() if found.value is None} - given
            problems += [f"{where}: parameter `{name}` is missing" for name in sorted(missing)]
            problems += [f"{where}: there is no parameter `{name}`" for name in sorted(given - set(wanted))]
            for name, value in module.value.get("params", {}).items():
                problems += [f"{where}: `{name}` {what}" for what in fits(value, wanted.get(name))]
            outputs = {found.name for found in target.all("output")}
            read = set(re.findall(rf"\b{module.name}(?:\.\?|\.)outputs\.(\w+)", file.text))
            problems += [f"{where}: there is no output `{name}`" for name in sorted(read - outputs)]
    return problems


def fits(value, parameter):
    kinds = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
    if parameter is None or isinstance(value, Expression):
        return
    if type(value) is not kinds[parameter.type]:
        yield f"must be of type {parameter.type}"
    for decorator in parameter.decorators:
        if decorator.startswith("allowed(") and f"'{value}'" not in decorator:
            yield f"is `{value}`, which is not allowed"


def parameter_files(infra, main):
    """main.parameters.json names every parameter of main.bicep, each from a variable of its own, with the same default; the files of
    the environments set the same ones, and nothing that is not there."""
    problems = []
    wanted = {found.name: found for found in main.all("parameter")}
    given = json.loads((infra / "main.parameters.json").read_text())["parameters"]
    problems += [f"main.parameters.json: `{name}` is missing" for name in wanted if name not in given]
    variables = {}
    for name, entry in given.items():
        if name not in wanted:
            problems.append(f"main.parameters.json: main.bicep has no `{name}`")
            continue
        match = re.fullmatch(r"\$\{([A-Z_]+)(?:=(.*))?\}", entry["value"])
        if not match:
            problems.append(f"main.parameters.json: `{name}` must be `${{VARIABLE}}` or `${{VARIABLE=default}}`")
            continue
        variable, default = match.groups()
        if variable in variables:
            problems.append(f"main.parameters.json: `{name}` and `{variables[variable]}` share `{variable}`")
        variables[variable] = name
        written = wanted[name].value
        written = str(written).lower() if isinstance(written, bool) else str(written or "")
        if (default or "") != written:
            problems.append(f"main.parameters.json: `{name}` has the default `{default}`, main.bicep `{written}`")
    environments = {file.name: json.loads(file.read_text())["parameters"] for file in sorted((infra / "environments").glob("*.json"))}
    keys = [set(parameters) for parameters in environments.values()]
    for file, parameters in environments.items():
        problems += [f"{file}: main.bicep has no `{name}`" for name in parameters if name not in wanted]
        problems += [f"{file}: `{name}` is set for another environment only" for name in sorted(set().union(*keys) - set(parameters))]
        for name, entry in parameters.items():
            problems += [f"{file}: `{name}` {what}" for what in fits(entry["value"], wanted.get(name))]
    return problems


def secrets(files):
    """No template makes, hands on or shows a secret."""
    problems = []
    for file in files:
        for number, line in enumerate(file.text.splitlines(), 1):
            code = line.split("//")[0]
            if re.search(r"\blist(Keys|Secrets?|Credentials|AccountSas|ServiceSas|\w*Keys)\s*\(|\.getSecret\s*\(", code):
                problems.append(f"{file.path.name}:{number}: a template that fetches a key")
            if re.search(r"AccountKey=|SharedAccessKey=|[?&]sig=", code):
                problems.append(f"{file.path.name}:{number}: a key or signature")
        for parameter in file.all("parameter"):
            if "secure()" in parameter.decorators and parameter.value is not None:
                problems.append(f"{file.path.name}:{parameter.line}: secure parameter `{parameter.name}` has a default")
            if re.search(r"(?i)password|secret|apikey|api_key|(^|[a-z])Key$", parameter.name) and "secure()" not in parameter.decorators:
                problems.append(f"{file.path.name}:{parameter.line}: parameter `{parameter.name}` is not secure")
        secure = {found.name for found in file.all("parameter") if "secure()" in found.decorators}
        for output in file.all("output"):
            if any(re.search(rf"\b{name}\b", str(output.value)) for name in secure):
                problems.append(f"{file.path.name}:{output.line}: output `{output.name}` shows a secure parameter")
            if file.path.name == "main.bicep" and re.search(r"(?i)connectionstring|key$|token|secret|password", str(output.value)):
                problems.append(f"{file.path.name}:{output.line}: output `{output.name}` shows `{output.value}`")
    return problems


def lengths(folder):
    """Files that nobody reads in one go."""
    found = []
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file() and file.suffix not in (".txt", ".json", ".md") and "__pycache__" not in file.parts:
            lines = len(file.read_text().splitlines())
            if lines > LINES_MAX:
                found.append(f"{file.name}: {lines} lines, {LINES_MAX} at most")
    return found
