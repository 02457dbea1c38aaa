"""The tree holds no secret, ignores what it must, and its scripts, workflows and images are in order; and each lapse is found."""

import subprocess
import shutil
import tempfile
import unittest
from pathlib import Path

import tree

ROOT = Path(__file__).parents[2]


class Tree(unittest.TestCase):
    def test_no_secret_is_in_the_tree(self):
        self.assertEqual(tree.secrets_in_tree(ROOT), [])

    def test_git_ignores_what_holds_secrets_and_nothing_that_azd_needs(self):
        self.assertEqual(tree.ignored(ROOT), [])

    def test_every_shell_script_passes_shellcheck(self):
        scripts = tree.shell_scripts(ROOT)
        for wanted in (".ci/run", "package.sh", "infra/check", "infra/hooks/lib.sh", "infra/hooks/write-key"):
            self.assertIn(wanted, scripts)
        self.assertEqual(tree.shellcheck(ROOT, scripts), [])
        print(f"\n  shell scripts: {len(scripts)}")

    def test_workflows_have_the_right_form_and_give_nothing_away(self):
        self.assertEqual(tree.workflows(ROOT), [])

    def test_azure_yaml_has_the_right_form_and_its_hooks_exist(self):
        self.assertEqual(tree.azure_yaml(ROOT), [])

    def test_dependabot_looks_after_every_folder(self):
        self.assertEqual(tree.dependabot(ROOT), [])

    def test_the_image_has_no_shell_and_no_root(self):
        self.assertEqual(tree.dockerfile(ROOT / "Dockerfile"), [])

    def test_the_example_for_kubernetes_locks_the_container_up(self):
        self.assertEqual(tree.kubernetes(ROOT / "infra/containerapps/cronjob.example.yaml"), [])

    def test_the_documents_of_deployment_lead_somewhere(self):
        self.assertEqual(tree.links(ROOT, ["infra/README.md", "infra/checks/README.md", "docs/security.md"]), [])


class Secrets(unittest.TestCase):
    def test_each_kind_of_secret_is_found(self):
        # Put together here, so that this file holds none.
        cases = [
            "AccountKey=" + "Ab1+" * 20 + "==",
            '"' + "Ab1+/" * 17 + "x==" + '"',
            "https://x.example/?sv=1&sig=" + "a%3D" * 8,
            "LASTFM_API_KEY=" + "0123456789abcdef" * 2,
            "-----BEGIN RSA " + "PRIVATE KEY-----",
            "ghp_" + "a1B2" * 9,
            "abc8Q" + "~" + "x" * 34,
            ".".join(["eyJ" + "a" * 30, "eyJ" + "b" * 30, "c" * 30]),
            "AKIA" + "A1B2" * 4,
        ]
        self.assertEqual(len(cases), len(tree.SECRETS))
        for case, what in zip(cases, tree.SECRETS, strict=True):
            self.assertTrue(any(what in problem for problem in tree.secrets("x", f"first line\n{case}\n")), what)
            self.assertTrue(all(problem.startswith("x:2: ") for problem in tree.secrets("x", f"first line\n{case}\n")))

    def test_what_is_none_is_left_alone(self):
        for text in ('"integrity": "sha512-' + "A" * 86 + '=="', '"LASTFM_API_KEY": "put-your-key-here"', next(iter(tree.ALLOWED))):
            self.assertEqual(tree.secrets("x", text), [])


class Lapses(unittest.TestCase):
    """Made in a small repository with the real files."""

    def setUp(self):
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        subprocess.run(["git", "init", "--quiet", str(self.root)], check=True)
        for name in (".gitignore", "azure.yaml", "Dockerfile", "Cargo.lock"):
            shutil.copy(ROOT / name, self.root / name)
        for name in (".github", "infra"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, name, old, new):
        path = self.root / name
        self.assertIn(old, path.read_text())
        path.write_text(path.read_text().replace(old, new, 1))

    def found(self, problems, words):
        self.assertTrue([problem for problem in problems if words in problem], problems)

    def test_a_file_that_must_not_be_committed(self):
        (self.root / "prod.env").write_text("A=1\n")
        self.found(tree.secrets_in_tree(self.root), "prod.env: must not be committed")

    def test_a_row_of_gitignore_that_is_missing_or_too_wide(self):
        self.change(".gitignore", "*.watermark\n", "azure.yaml\n")
        self.found(tree.ignored(self.root), "git does not ignore rj.watermark")
        self.found(tree.ignored(self.root), "git ignores azure.yaml")

    def test_a_script_with_a_fault(self):
        (self.root / "new").write_text("#!/bin/bash\nrm -rf $1/*\n")
        self.assertIn("new", tree.shell_scripts(self.root))
        self.found(tree.shellcheck(self.root, ["new"]), "SC2086")

    def test_a_workflow_with_too_many_rights(self):
        self.change(".github/workflows/ci.yml", "permissions: {}", "permissions: write-all")
        self.found(tree.workflows(self.root), "excessive-permissions")

    def test_a_workflow_that_runs_what_a_stranger_wrote(self):
        self.change(".github/workflows/ci.yml", "- run: .ci/run", "- run: echo ${{ github.event.pull_request.title }}")
        self.found(tree.workflows(self.root), "template-injection")

    def test_an_action_that_is_not_pinned(self):
        self.change(".github/workflows/ci.yml", "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "actions/checkout@main")
        self.found(tree.workflows(self.root), "unpinned-uses")

    def test_a_check_of_a_workflow_that_cannot_fail(self):
        self.change(".github/workflows/ci.yml", "- run: .ci/run", "- run: ! .ci/run")
        self.found(tree.workflows(self.root), "`!` before a command never ends a step")

    def test_a_commit_without_its_version(self):
        self.change(".github/workflows/ci.yml", "83dd # v6.0.2", "83dd")
        self.found(tree.workflows(self.root), "the version of the commit is not said")

    def test_a_commit_that_nobody_has_seen(self):
        self.change(".github/zizmor.yml", "actions/checkout, ", "")
        self.found(tree.workflows(self.root), "does not say where the commit of actions/checkout was seen")

    def test_a_workflow_of_the_wrong_form_or_without_end(self):
        self.change(".github/workflows/ci.yml", "    timeout-minutes: 90\n", "")
        self.found(tree.workflows(self.root), "timeout-minutes")
        self.change(".github/workflows/weekly.yml", "runs-on:", "run-on:")
        self.found(tree.workflows(self.root), "weekly.yml")

    def test_dependabot_of_the_wrong_form(self):
        self.change(".github/dependabot.yml", "interval: monthly", "interval: sometimes")
        self.found(tree.workflows(self.root), "dependabot.yml")

    def test_dependabot_into_main_or_without_a_folder(self):
        self.change(".github/dependabot.yml", "target-branch: component-updates", "target-branch: main")
        self.change(".github/dependabot.yml", "directories: [/infra/checks, /tests/npm]", "directories: [/tests/npm]")
        self.found(tree.dependabot(self.root), "cargo is not monthly, grouped, into component-updates")
        self.found(tree.dependabot(self.root), "no entry for npm in /infra/checks")

    def test_a_hook_that_azd_does_not_know_or_that_is_not_there(self):
        self.change("azure.yaml", "postdeploy:", "afterdeploy:")
        self.change("azure.yaml", "infra/hooks/package", "infra/hooks/pack")
        self.found(tree.azure_yaml(self.root), "afterdeploy")
        self.found(tree.azure_yaml(self.root), "`infra/hooks/pack` is no program")

    def test_an_image_with_root_or_a_moving_base(self):
        self.change("Dockerfile", "USER 65532:65532\n", "USER root\n")
        self.change("Dockerfile", "FROM rust:1.95-alpine", "FROM rust:latest")
        self.change("Dockerfile", "static-debian12:nonroot", "static-debian12:debug")
        for words in ("the user is not 65532", "`rust:latest` is a moving tag", "is not distroless static"):
            self.found(tree.dockerfile(self.root / "Dockerfile"), words)

    def test_a_container_that_may_write_or_gain_rights(self):
        name = "infra/containerapps/cronjob.example.yaml"
        for old, new in (("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"), ("runAsNonRoot: true", "runAsNonRoot: false")):
            self.change(name, old, new)
        problems = tree.kubernetes(self.root / name)
        self.found(problems, "readOnlyRootFilesystem must be True")
        self.found(problems, "runs as root")

    def test_a_link_that_leads_nowhere(self):
        (self.root / "page.md").write_text("[here](azure.yaml) [there](nowhere.md) [out](https://example.org)\n")
        self.assertEqual(tree.links(self.root, ["page.md"]), ["page.md: there is no nowhere.md"])


if __name__ == "__main__":
    unittest.main()
