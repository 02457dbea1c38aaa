"""Checkov finds nothing in what is ours, everything in the bad templates, and says when it cannot look."""

import shutil
import tempfile
import unittest
from pathlib import Path

import posture
import security

# A rule that our templates give nothing to look at. It has a good template beside it.
BANS = {"ACA-INGRESS"}


class Posture(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.checkov = posture.Checkov(cls.folder)
        cls.rules = {rule["metadata"]["id"] for rule in posture.rules()}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def judge_text(self, text):
        file = self.folder / "case.bicep"
        file.write_text(text)
        return posture.judge([file], self.checkov)[0]

    def test_the_templates_have_no_finding_and_every_rule_looked_at_something(self):
        problems, looked = posture.judge(sorted(posture.INFRA.rglob("*.bicep")), self.checkov)
        self.assertEqual(problems, [])
        self.assertEqual(self.rules - looked, BANS)
        named = security.checkov_rules((posture.INFRA.parent / "docs/security.md").read_text())
        self.assertTrue(named)
        self.assertEqual(named - looked, set(), "docs/security.md names rules that looked at nothing")
        print(f"\n  checkov: {len(looked)} rules looked at something, {len(self.rules)} of our own")

    def test_every_rule_of_ours_catches_its_bad_template(self):
        self.assertEqual(len(self.rules), len(posture.rules()), "two rules share an id")
        self.assertEqual(posture.misjudged(self.checkov, self.folder), [])
        print(f"\n  bad templates caught: {len(self.rules)}")

    def test_the_image_and_the_workflows_have_no_finding(self):
        root = posture.INFRA.parent
        problems, looked = posture.image_and_workflows(root)
        self.assertEqual(problems, [])
        self.assertTrue({"CKV_DOCKER_3", "CKV_DOCKER_8", "CKV2_GHA_1"} <= looked, looked)

    def test_an_image_with_root_and_a_workflow_with_every_right_are_findings(self):
        root = self.folder / "bad"
        (root / ".github/workflows").mkdir(parents=True)
        (root / "Dockerfile").write_text("FROM scratch\nUSER root\n")
        steps = "jobs:\n  a:\n    runs-on: x\n    steps:\n      - run: x\n"
        (root / ".github/workflows/a.yml").write_text("name: a\non: push\npermissions: write-all\n" + steps)
        found = " ".join(posture.image_and_workflows(root)[0])
        for rule in ("CKV_DOCKER_8", "CKV2_GHA_1"):
            self.assertIn(rule, found)

    def test_a_template_that_cannot_be_read_is_a_finding(self):
        problems = self.judge_text("param names string[]\n")
        self.assertTrue([problem for problem in problems if "cannot read" in problem], problems)

    def test_a_check_that_falls_over_is_a_finding(self):
        text = "var closed = true ? 'Disabled' : 'Enabled'\nresource v 'Microsoft.KeyVault/vaults@2026-02-01' = {\n  name: 'kv'\n  location: 'x'\n"
        problems = self.judge_text(text + "  properties: { publicNetworkAccess: closed }\n}\n")
        self.assertTrue([problem for problem in problems if "Failed to run check" in problem], problems)

    def test_a_finding_of_checkov_s_own_is_a_finding(self):
        problems = self.judge_text(
            "resource v 'Microsoft.KeyVault/vaults@2026-02-01' = {\n  name: 'kv'\n  location: 'x'\n  properties: { enablePurgeProtection: false }\n}\n"
        )
        self.assertTrue([problem for problem in problems if "CKV_AZURE_110" in problem], problems)

    def test_a_suppression_needs_a_reason_and_something_to_suppress(self):
        text = "resource v 'Microsoft.KeyVault/vaults@2026-02-01' = {\n  // checkov:skip=CKV_AZURE_110:no\n  // checkov:skip=CKV_AZURE_44:this reason is long enough, but there is no storage\n"
        problems = self.judge_text(text + "  name: 'kv'\n  location: 'x'\n  properties: { enablePurgeProtection: false }\n}\n")
        self.assertIn("case.bicep: CKV_AZURE_110 is skipped without a reason", problems)
        self.assertIn("case.bicep: CKV_AZURE_44 is skipped, but does not apply", problems)


if __name__ == "__main__":
    unittest.main()
