"""The templates read well and fit together; and each mistake that the reader is there for is found."""

import re
import shutil
import tempfile
import unittest
from pathlib import Path

import bicep
import templates

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"


class Tree(unittest.TestCase):
    def setUp(self):
        self.files = [bicep.File(path) for path in sorted(INFRA.rglob("*.bicep"))]
        self.main = next(file for file in self.files if file.path.name == "main.bicep" and file.path.parent == INFRA)

    def test_every_template_is_bicep(self):
        self.assertGreater(len(self.files), 15)
        self.assertEqual([error for file in self.files for error in file.errors], [])

    def test_every_name_is_declared_and_used(self):
        self.assertEqual([problem for file in self.files for problem in templates.names(file)], [])

    def test_every_module_is_called_as_it_wants(self):
        self.assertEqual(templates.modules(self.files), [])

    def test_parameter_files_fit_and_environments_differ_in_nothing_else(self):
        self.assertEqual(templates.parameter_files(INFRA, self.main), [])

    def test_azd_asks_for_the_region_and_the_users_alone(self):
        # The name is an argument of `azd env new`. The third question, the key, is a hook's.
        without_default = {found.name for found in self.main.all("parameter") if found.value is None}
        self.assertEqual(without_default, {"environmentName", "location", "lastfmUsers"})
        deploy = (INFRA / "README.md").read_text().split("## Deploy\n")[1].split("```sh\n")[1].split("```")[0]
        self.assertLessEqual(len(deploy.splitlines()), 4)

    def test_no_template_makes_or_shows_a_secret(self):
        self.assertEqual(templates.secrets(self.files), [])

    def test_no_file_is_too_long(self):
        self.assertEqual(templates.lengths(INFRA) + templates.lengths(ROOT / ".github"), [])


class Mistakes(unittest.TestCase):
    """Each is made in a copy of the real templates."""

    def setUp(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.infra = folder / "infra"
        shutil.copytree(INFRA, self.infra, ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, name, old, new):
        path = self.infra / name
        content = path.read_text()
        self.assertIn(old, content)
        path.write_text(content.replace(old, new, 1))

    def problems(self):
        files = [bicep.File(path) for path in sorted(self.infra.rglob("*.bicep"))]
        main = next(file for file in files if file.path == self.infra / "main.bicep")
        found = [error for file in files for error in file.errors] + [problem for file in files for problem in templates.names(file)]
        found += templates.modules(files) + templates.parameter_files(self.infra, main) + templates.secrets(files)
        return found + templates.lengths(self.infra)

    def found(self, words):
        problems = self.problems()
        self.assertTrue([problem for problem in problems if words in problem], problems)

    def test_a_missing_brace(self):
        self.change("modules/identity.bicep", "  tags: tags\n}", "  tags: tags\n")
        self.found("identity.bicep")

    def test_a_misspelt_name(self):
        self.change("modules/vault.bicep", "name: 'kv-${token}'", "name: 'kv-${tokn}'")
        self.found("nobody declares `tokn`")

    def test_a_parameter_that_nobody_uses(self):
        self.change("modules/identity.bicep", "param tags object", "param tags object\nparam left string = ''")
        self.found("nobody uses parameter `left`")

    def test_a_module_without_a_parameter_it_wants(self):
        self.change("main.bicep", "    retentionDays: logRetentionDays\n", "    retentionDay: logRetentionDays\n")
        self.found("there is no parameter `retentionDay`")
        self.change("main.bicep", "    workQueue: workQueue\n", "")
        self.found("parameter `workQueue` is missing")

    def test_a_module_with_a_value_of_the_wrong_type(self):
        self.change("main.bicep", "    versioning: true\n", "    versioning: 'yes'\n")
        self.found("`versioning` must be of type bool")

    def test_an_output_that_nobody_makes(self):
        self.change("main.bicep", "vault.outputs.uri", "vault.outputs.address")
        self.found("there is no output `address`")

    def test_a_module_that_is_not_there(self):
        self.change("main.bicep", "'modules/vault.bicep'", "'modules/safe.bicep'")
        self.found("there is no `modules/safe.bicep`")

    def test_a_default_that_differs_between_template_and_parameters(self):
        self.change("main.parameters.json", "${NETWORK=private}", "${NETWORK=public}")
        self.found("`network` has the default `public`, main.bicep `private`")

    def test_a_parameter_that_no_variable_sets(self):
        self.change("main.parameters.json", '    "paused": { "value": "${PAUSED=false}" },\n', "")
        self.found("main.parameters.json: `paused` is missing")

    def test_two_parameters_from_one_variable(self):
        self.change("main.parameters.json", "${OWNER=unknown}", "${COST_CENTER=unknown}")
        self.found("share `COST_CENTER`")

    def test_an_environment_that_sets_what_the_others_do_not(self):
        self.change("environments/prod.parameters.json", '"compliance"', '"owner"')
        self.found("dev.parameters.json: `owner` is set for another environment only")

    def test_a_value_that_is_not_allowed_in_an_environment(self):
        self.change("environments/prod.parameters.json", '"private"', '"hidden"')
        self.found("`network` is `hidden`, which is not allowed")

    def test_a_template_that_fetches_a_key(self):
        self.change("modules/storage.bicep", "output name string = account.name", "output name string = account.listKeys().keys[0].value")
        self.found("a template that fetches a key")

    def test_a_secure_parameter_with_a_default(self):
        self.change("secret.bicep", "param value string", "param value string = 'x'")
        self.found("secure parameter `value` has a default")

    def test_a_secret_that_is_not_secure(self):
        self.change("secret.bicep", "@secure()\nparam value string", "param apiKey string")
        self.found("parameter `apiKey` is not secure")

    def test_an_output_that_shows_a_secret(self):
        with (self.infra / "secret.bicep").open("a") as file:
            file.write("\noutput shown string = value\n")
        self.found("output `shown` shows a secure parameter")
        self.change("main.bicep", "output KEY_VAULT_NAME string = vault.outputs.name", "output SHOWN string = monitoring.outputs.insightsConnectionString")
        self.found("output `SHOWN` shows")

    def test_a_file_that_is_too_long(self):
        path = self.infra / "modules/identity.bicep"
        path.write_text(path.read_text() + "// more\n" * 400)
        self.found("identity.bicep: ")


class Secrets(unittest.TestCase):
    def test_main_has_no_secure_parameter(self):
        # What main.bicep is given stands in azd's files and in the deployment's inputs.
        self.assertNotIn("@secure()", re.sub(r"//.*", "", (INFRA / "main.bicep").read_text()))


if __name__ == "__main__":
    unittest.main()
