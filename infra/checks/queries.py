"""Holds the words of queries/*.kql against the words that the program writes, so that no alert waits for a line that nobody says."""

import re

# Tables with the columns that the queries may name. https://learn.microsoft.com/azure/azure-monitor/reference/tables-index
TABLES = {
    "AppTraces": {"Message", "TimeGenerated"},
    "AppRequests": {"Name", "OperationId", "Success", "TimeGenerated"},
    "AZKVAuditLogs": {"CallerIpAddress", "HttpStatusCode", "Id", "Identity", "OperationName", "ResultSignature", "TimeGenerated"},
    "StorageBlobLogs": {
        "AccountName", "AuthenticationType", "CallerIpAddress", "Category", "OperationName", "RequesterObjectId", "StatusCode", "TimeGenerated",
    },
}  # fmt: skip
# What the Functions host says itself.
HOST = {"Message has reached MaxDequeueCount"}


def program(root):
    """Every text in the program, and every field of its log lines."""
    sources = (file.read_text() for file in sorted((root / "src").rglob("*.rs")))
    joined = "\n".join(re.sub(r"\\\n\s*", "", source) for source in sources)
    texts = re.findall(r'"((?:[^"\\]|\\.)*)"', joined)
    code = re.sub(r"^\s*//.*$", "", joined, flags=re.M)
    fields = {"level", "message", "target", "timestamp"}
    for macro in re.finditer(r"(?:tracing::\$?\w+|\bmilestone|\btell)!\(", code):
        fields |= set(re.findall(r"(?:^|[,(\s])[%?]?(\w+)\s*(?:=|,|$)", arguments(code, macro.end())))
    return texts, fields


def arguments(code, start):
    """What stands from here to the parenthesis that closes the call, without its texts."""
    depth, kept = 1, []
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|.', code[start:], re.S):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth == 0:
            break
        if not token[0].startswith('"'):
            kept.append(token[0])
    return "".join(kept)


def check(folder, root):
    """Problems of all queries, one line each."""
    texts, fields = program(root)
    functions = {entry.name for entry in (root / "function-triggers").iterdir()}
    problems = []
    for file in sorted(folder.glob("*.kql")):
        where = f"{file.name}:"
        content = file.read_text()
        if not content.startswith("// "):
            problems.append(f"{where} does not say what it is for")
        query = "\n".join(line for line in content.splitlines() if not line.startswith("//"))
        tables = [name for name in TABLES if re.search(rf"\b{name}\b", query)]
        if not tables:
            problems.append(f"{where} names no table that is known")
        columns = set().union(*(TABLES[name] for name in tables))
        made = set(re.findall(r"(\w+) =", query))
        for name in set(re.findall(r"\b[A-Z]\w+\b", re.sub(r'"[^"]*"', "", query))) - columns - set(tables) - made:
            problems.append(f"{where} no table in it has a column `{name}`")
        for field in re.findall(r"\bline\.(\w+)", query):
            if field not in fields:
                problems.append(f"{where} no log line has a field `{field}`")
        if "AppTraces" in tables:
            # What a query says itself is built with strcat.
            for words in re.findall(r'"([^"]*)"', re.sub(r"strcat\([^)]*\)", "", query)):
                if words not in HOST | functions | {""} and not any(words in text for text in texts):
                    problems.append(f"{where} the program never says `{words}`")
    return problems


def unused(folder, users):
    """Queries that neither the text of an alert or a hook names, nor a person uses."""
    return [file.name for file in sorted(folder.glob("*.kql")) if f"queries/{file.name}" not in users and "// For people:" not in file.read_text()]
