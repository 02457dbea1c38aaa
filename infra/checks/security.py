"""Holds docs/security.md against the tree: every control of the four documents has one row, and what a row names is there."""

import re
from pathlib import Path

# How many controls each document has.
GROUPS = {"LFM-": 99, "LFM-C": 24, "SZ-": 62, "MC-": 55, "ACA-": 34}
STATES = ("held", "not applicable", "open")
WAITS_FOR = ("secrets manifest", "audit", "status page")


def wanted():
    rows = []
    for prefix, count in GROUPS.items():
        rows += [f"{prefix}{number:02}" for number in range(1, count + 1)]
    return rows


def rows(text):
    """Id, state and reason of each row."""
    found = re.findall(r"^\| ((?:LFM|SZ|MC|ACA)-C?\d+) \| ([^|]+) \| ([^|]+) \| (.+) \|$", text, re.M)
    return [(name, control.strip(), state.strip(), where.strip()) for name, control, state, where in found]


def check(text, root, rules):
    """Problems of the table, one line each; and how many rows are in each state."""
    problems, used, counts = [], set(), dict.fromkeys(STATES, 0)
    found = rows(text)
    names = [name for name, *_ in found]
    problems += [f"{name}: no row" for name in wanted() if name not in names]
    problems += [f"{name}: {names.count(name)} rows" for name in sorted(set(names)) if names.count(name) > 1]
    problems += [f"{name}: no document has it" for name in names if name not in wanted()]
    for name, _, state, where in found:
        if state not in STATES:
            problems.append(f"{name}: `{state}` is no state")
            continue
        counts[state] += 1
        references = re.findall(r"`([^`]+)`", where)
        named = set(re.findall(r"\b[A-Z]{2,4}(?:-[A-Z]+)+\d?\b|\bTAGS\b", re.sub(r"`[^`]*`", "", where)))
        used |= named & rules
        problems += [f"{name}: there is no rule {rule}" for rule in sorted(named - rules) if not rule.startswith(("X-", "NS-", "IM-", "DP-", "LT-", "PV-"))]
        if state == "held":
            documents = "runbook](" in where or "this page" in where or "the calendar above" in where
            if not (references or named or documents or "CKV_" in where or "ACA-28" in where):
                problems.append(f"{name}: held by nothing that is named")
            problems += [f"{name}: {what}" for reference in references for what in missing(reference, root)]
        if state == "open" and not where.startswith(WAITS_FOR):
            problems.append(f"{name}: does not say what it waits for")
        if state == "not applicable" and len(where) < 12:
            problems.append(f"{name}: without a reason")
    problems += [f"no row names the rule {rule}" for rule in sorted(rules - used)]
    return problems, counts


def missing(reference, root):
    """`path`, or `path#words in it`. Other words in back-quotes are just words."""
    path, _, words = reference.partition("#")
    if not re.fullmatch(r"[\w./-]+", path) or not ("/" in path or "." in path or path == "Dockerfile"):
        return
    if not words and not (Path(root) / path).exists() and not re.search(r"\.\w+$|/", path):
        return
    file = Path(root) / path
    if not file.exists():
        yield f"there is no {path}"
    elif words and words not in file.read_text():
        yield f"{path} says nothing of `{words}`"


def checkov_rules(text):
    return set(re.findall(r"\bCKV_[A-Z]+_\d+\b", text))
