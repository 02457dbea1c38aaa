"""docs/security.md has a row for every control, and what the rows name exists."""

import unittest
from pathlib import Path

import posture
import security

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/security.md").read_text()
RULES = {rule["metadata"]["id"] for rule in posture.rules()}


class Table(unittest.TestCase):
    def test_every_control_has_a_row_and_what_it_names_exists(self):
        problems, counts = security.check(TEXT, ROOT, RULES)
        self.assertEqual(problems, [])
        self.assertEqual(sum(counts.values()), 274)
        print(f"\n  controls: {counts}")

    def found(self, old, new, words):
        self.assertTrue(old in TEXT, old)
        problems, _ = security.check(TEXT.replace(old, new, 1), ROOT, RULES)
        self.assertTrue([problem for problem in problems if words in problem], problems)

    def test_a_row_that_is_missing_or_there_twice(self):
        row = next(line for line in TEXT.splitlines() if line.startswith("| SZ-13 "))
        self.found(row + "\n", "", "SZ-13: no row")
        self.found(row, row + "\n" + row, "SZ-13: 2 rows")

    def test_a_file_a_test_or_a_rule_that_is_not_there(self):
        self.found("`infra/queries/archive-use.kql`", "`infra/queries/archive-used.kql`", "there is no infra/queries/archive-used.kql")
        self.found("#test_an_output_that_shows_a_secret", "#test_an_output_that_shows_secrets", "says nothing of")
        self.found("held | KV-NET |", "held | KV-NETS |", "there is no rule KV-NETS")

    def test_a_rule_that_no_row_names(self):
        problems, _ = security.check(TEXT, ROOT, RULES | {"NEW-RULE"})
        self.assertEqual(problems, ["no row names the rule NEW-RULE"])

    def test_a_state_without_ground(self):
        self.found("| open | audit |", "| open | later |", "does not say what it waits for")
        self.found("| not applicable | there is none |", "| not applicable | - |", "without a reason")
        self.found("| held | KV-SOFT |", "| held | surely |", "held by nothing that is named")
        self.found("| held | KV-SOFT |", "| done | KV-SOFT |", "`done` is no state")


if __name__ == "__main__":
    unittest.main()
