"""No alert waits for a line that nobody says."""

import shutil
import tempfile
import unittest
from pathlib import Path

import queries

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "infra/queries"


class Queries(unittest.TestCase):
    def test_the_queries_use_the_words_of_the_program(self):
        self.assertEqual(queries.check(QUERIES, ROOT), [])

    def test_every_query_is_an_alert_or_a_hook_s_or_for_people(self):
        users = "".join((ROOT / "infra" / name).read_text() for name in ("modules/alerts.bicep", "hooks/postdeploy"))
        self.assertEqual(queries.unused(QUERIES, users), [])
        self.assertEqual(queries.unused(QUERIES, users.replace("poison.kql", "")), ["poison.kql"])

    def found(self, old, new, words):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "queries"
            shutil.copytree(QUERIES, copy)
            changed = 0
            for file in copy.glob("*.kql"):
                text = file.read_text()
                changed += old in text
                file.write_text(text.replace(old, new))
            self.assertTrue(changed)
            problems = queries.check(copy, ROOT)
        self.assertTrue([problem for problem in problems if words in problem], problems)

    def test_a_line_that_the_program_never_says(self):
        self.found("users enqueued", "users queued", "the program never says `users queued`")

    def test_a_field_that_no_line_has(self):
        self.found("line.outcome", "line.result", "no log line has a field `result`")

    def test_a_column_that_the_table_lacks(self):
        self.found("CallerIpAddress", "CallerIPAddress", "has a column `CallerIPAddress`")

    def test_a_query_that_does_not_say_what_it_is_for(self):
        self.found("// The timer has not run", "AppTraces // has not run", "does not say what it is for")


if __name__ == "__main__":
    unittest.main()
