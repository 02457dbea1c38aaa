"""Checkov over our templates, image and workflows: its own rules, and ours in rules/*.yaml, each of which must catch the template
beside it."""

import io
import json
import logging
import re
from pathlib import Path

import yaml

HERE = Path(__file__).parent
INFRA = HERE.parent

# `existing` resources are looked up, not made: there is nothing to judge in them.
LOOKED_UP = {"cond_type": "attribute", "attribute": "existing_", "operator": "equals", "value": True}


def rules():
    """Every rule of ours, as it stands in rules/*.yaml."""
    found = []
    for file in sorted((HERE / "rules").glob("*.yaml")):
        found += yaml.safe_load(file.read_text())
    return found


def types_of(definition):
    if isinstance(definition, dict) and "resource_types" in definition:
        return set(definition["resource_types"])
    parts = definition.values() if isinstance(definition, dict) else definition
    return {name for part in parts if isinstance(part, (list, dict)) for name in types_of(part)}


def write_rules(folder):
    """Checkov reads one rule a file, and knows nothing of `existing`."""
    folder.mkdir(parents=True)
    for rule in rules():
        definition = rule["definition"]
        looked_up = LOOKED_UP | {"resource_types": sorted(types_of(definition))}
        if "connection" not in json.dumps(definition):
            definition = {"or": [looked_up, definition]}
        else:
            chosen, *rest = definition["and"]
            definition = {"and": [chosen, {"or": [looked_up, {"and": rest}]}]}
        content = {"metadata": rule["metadata"], "definition": definition}
        (folder / f"{rule['metadata']['id']}.yaml").write_text(yaml.safe_dump(content))


class Checkov:
    """Checkov as a library, one graph a file: in one graph for all it takes a parameter of one file for that of another."""

    def __init__(self, work):
        # Importing the packages of checks registers them.
        import checkov.arm  # noqa: F401
        import checkov.bicep  # noqa: F401
        from checkov.bicep import parser, runner
        from checkov.runner_filter import RunnerFilter

        # Making the parser takes a second and a half, and every run would make its own.
        grammar = parser.BicepParser(add_line_numbers=True)
        parser.BicepParser = lambda add_line_numbers: grammar
        write_rules(work / "rules")
        self.rules = work / "rules"
        self.runner, self.filter = runner.Runner, RunnerFilter
        # What a check of checkov's cannot do it says in the log, and counts as nothing.
        self.words = io.StringIO()
        handler = logging.StreamHandler(self.words)
        handler.setLevel(logging.WARNING)
        logging.getLogger().handlers = [handler]

    def run(self, file):
        """The report on `file`, and what checkov could not do and does not count."""
        self.words.truncate(self.words.seek(0))
        runner_filter = self.filter(framework=["bicep"])
        # Our rules stay loaded after the first run.
        ours, self.rules = self.rules, None
        ours = [str(ours)] if ours else None
        report = self.runner().run(root_folder=None, external_checks_dir=ours, files=[str(file)], runner_filter=runner_filter)
        trouble = [f"{file}: checkov cannot read it" for _ in report.parsing_errors]
        trouble += [f"{file}: checkov: {line}" for line in self.words.getvalue().splitlines() if line]
        return report, trouble


def judge(files, checkov):
    """What is wrong with the templates, one line each; and how many rules looked at something."""
    problems, looked = [], set()
    for file in files:
        report, trouble = checkov.run(file)
        problems += trouble
        for check in report.failed_checks:
            problems.append(f"{file.name}:{check.file_line_range[0]}: {check.check_id}: {check.resource}: {check.check_name}")
        looked |= {check.check_id for check in report.passed_checks}
        skipped = {check.check_id for check in report.skipped_checks}
        for rule_id, reason in re.findall(r"checkov:skip=([\w-]+)(.*)", file.read_text()):
            if len(reason.strip(": ")) < 20:
                problems.append(f"{file.name}: {rule_id} is skipped without a reason")
            if rule_id not in skipped:
                problems.append(f"{file.name}: {rule_id} is skipped, but does not apply")
    return problems, looked


def image_and_workflows(root):
    """What checkov's own rules find in the image and the workflows, one line each; and how many of its rules looked."""
    from checkov.dockerfile.runner import Runner as Images
    from checkov.github_actions.runner import Runner as Workflows
    from checkov.runner_filter import RunnerFilter

    problems, looked = [], set()
    workflows = [str(file) for file in sorted((root / ".github/workflows").glob("*.yml"))]
    for runner, framework, files in ((Images, "dockerfile", [str(root / "Dockerfile")]), (Workflows, "github_actions", workflows)):
        report = runner().run(root_folder=None, files=files, runner_filter=RunnerFilter(framework=[framework]))
        problems += [f"{file}: checkov cannot read it" for file in report.parsing_errors]
        problems += [f"{check.file_path}:{check.file_line_range[0]}: {check.check_id}: {check.check_name}" for check in report.failed_checks]
        looked |= {check.check_id for check in report.passed_checks}
    return problems, looked


def misjudged(checkov, work):
    """The rules of ours that do not catch the bad template beside them, or find fault with the good one, where there is one."""
    missed = []
    for rule in rules():
        rule_id = rule["metadata"]["id"]
        for kind in ("bad", "good"):
            if kind not in rule:
                continue
            file = work / f"{rule_id}-{kind}.bicep"
            file.write_text(rule[kind])
            report, trouble = checkov.run(file)
            judged = {check.check_id for check in (report.failed_checks if kind == "bad" else report.passed_checks)}
            if trouble or rule_id not in judged:
                missed.append((rule_id, kind, trouble))
    return missed
