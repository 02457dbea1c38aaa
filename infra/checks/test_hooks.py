"""The hooks of azd against stand-ins for `az` and `azd`: what they call, in which order, and that no secret is in any argument."""

import json
import os
import pty
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef0123456789ABCDEF"
ENVIRONMENT = {
    "AZURE_SUBSCRIPTION_ID": "sub",
    "AZURE_ENV_NAME": "test",
    "AZURE_RESOURCE_GROUP": "rg-lastfm-archive-test",
    "KEY_VAULT_NAME": "kv-x",
    "FUNCTION_APP_NAME": "func-x",
    "FUNCTION_APP_ID": "/sites/func-x",
    "ARCHIVE_STORAGE_NAME": "starchivex",
    "WORKSPACE_CUSTOMER_ID": "workspace",
}
RESOLVED = ["--method get .*/appsettings/LASTFM_API_KEY", [{"stdout": "Resolved\n"}]]
NEW_AZ = ["^az version", [{"stdout": "2.91.0\n"}]]
FUNCTIONS = ("enqueue_users", "fetch_pages", "reconcile_user", "reconcile_users")
FILES = ("host.json", "lastfm-archive", *(f"{name}/function.json" for name in FUNCTIONS))
LISTED = ["--method get .*/functions\\?", [{"stdout": f"{' '.join(FUNCTIONS)}\n"}]]
LISTED_BEFORE = ["--method get .*/functions\\?", [{"stdout": "enqueue_users fetch_pages\n"}]]


class Hooks(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        # A copy: a hook writes below target/.
        self.root = self.folder / "repository"
        shutil.copytree(ROOT / "infra", self.root / "infra", ignore=shutil.ignore_patterns("__pycache__"))
        self.calls_file = self.folder / "calls"
        self.calls_file.touch()
        programs = self.folder / "bin"
        programs.mkdir()
        for name in ("az", "azd", "sleep", "rustup"):
            program = programs / name
            program.write_text(f"#!{sys.executable} -IS\n{(Path(__file__).parent / 'stand_in.py').read_text()}")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.path = f"{programs}:{os.environ['PATH']}"

    def environment(self, scene, extra):
        (self.folder / "scene").write_text(json.dumps(scene))
        files = {"SCENE": str(self.folder / "scene"), "CALLS": str(self.calls_file), "PATH": self.path, "HOME": str(self.folder)}
        return {name: value for name, value in (ENVIRONMENT | files | extra).items() if value is not None}

    def run_hook(self, hook, scene=(), stdin="", **extra):
        command = [str(self.root / "infra/hooks" / hook)]
        return subprocess.run(command, input=stdin, env=self.environment(scene, extra), capture_output=True, text=True, check=False, timeout=60)

    def calls(self, without=("sleep",)):
        entries = [json.loads(line) for line in self.calls_file.read_text().splitlines()]
        return [entry for entry in entries if entry["line"].split()[0] not in without]

    def lines(self, **options):
        return [entry["line"] for entry in self.calls(**options)]

    def position(self, *words):
        found = [index for index, line in enumerate(self.lines()) if all(word in line for word in words)]
        self.assertTrue(found, f"{words} in {self.lines()}")
        return found[0]

    def zip(self, path, files=FILES, mode=0o755):
        with zipfile.ZipFile(path, "w") as archive:
            for name in files:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (0o100000 | mode) << 16
                archive.writestr(entry, "x")
        return str(path)

    def assert_no_argument_holds(self, secret):
        self.assertFalse([line for line in self.lines(without=()) if secret.lower() in line.lower()])


class WriteKey(Hooks):
    def test_the_key_goes_over_standard_input_and_into_no_argument(self):
        run = self.run_hook("write-key", stdin=KEY + "\n")
        self.assertEqual(run.returncode, 0, run.stderr)
        [call] = self.calls()
        self.assertIn("deployment group create --resource-group rg-lastfm-archive-test", call["line"])
        self.assertIn("--template-file infra/secret.bicep", call["line"])
        self.assertIn("--subscription sub", call["line"])
        self.assertEqual(json.loads(call["stdin"]), {"value": {"value": KEY}})
        self.assert_no_argument_holds(KEY)
        self.assertNotIn(KEY, run.stdout + run.stderr)

    def test_what_is_no_key_is_refused_without_being_told(self):
        for wrong in ("", "hunter2hunter2hunter2", KEY + "0", 'a"}, "b": "'):
            run = self.run_hook("write-key", stdin=wrong)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn("32 hexadecimal digits", run.stderr)
            self.assertTrue(not wrong or wrong not in run.stderr)
        self.assertEqual(self.calls(), [])

    def test_a_typed_key_is_not_shown(self):
        # A terminal of its own for the hook: what it shows is what a person would see.
        environment = self.environment([], {})
        child, terminal = pty.fork()
        if child == 0:
            os.execve(str(self.root / "infra/hooks/write-key"), ["write-key"], environment)
        shown = b""
        while b"not shown" not in shown:
            shown += os.read(terminal, 1024)
        os.write(terminal, KEY.encode() + b"\n")
        try:
            while chunk := os.read(terminal, 1024):
                shown += chunk
        except OSError:
            pass  # the hook has ended
        self.assertEqual(os.waitpid(child, 0)[1], 0, shown)
        self.assertNotIn(KEY, shown.decode())
        self.assertEqual(json.loads(self.calls()[0]["stdin"])["value"]["value"], KEY)

    def test_by_hand_the_environment_comes_from_azd(self):
        values = "".join(f'{name}="{value}"\n' for name, value in ENVIRONMENT.items())
        run = self.run_hook("write-key", [["azd env get-values", [{"stdout": values}]]], stdin=KEY, **dict.fromkeys(ENVIRONMENT))
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("vaultName=kv-x", self.lines()[-1])


class AfterProvisioning(Hooks):
    def test_a_key_that_is_there_is_kept_and_resolved(self):
        run = self.run_hook("postprovision", [RESOLVED])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertFalse([line for line in self.lines() if "deployment" in line])
        self.assertLess(self.position("--method post", "/refresh"), self.position("/appsettings/LASTFM_API_KEY"))

    def test_without_key_and_terminal_it_says_what_to_run(self):
        run = self.run_hook("postprovision", [["secrets/lastfm-api-key", [{"exit": 1}]]])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("infra/hooks/write-key", run.stderr)
        self.assertEqual(len(self.calls()), 1)

    def test_it_asks_again_until_the_reference_is_resolved(self):
        answers = [{"stdout": "AccessToKeyVaultDenied\n"}, {"exit": 1}, {"stdout": "Resolved\n"}]
        run = self.run_hook("resolve-key", [["/appsettings/LASTFM_API_KEY", answers]])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(len([line for line in self.lines() if "/refresh" in line]), 3)
        self.assertIn("waiting for LASTFM_API_KEY to be resolved from the vault, 10 minutes at most", run.stderr)

    def test_it_gives_up_and_says_what_it_saw(self):
        run = self.run_hook("resolve-key", [["/appsettings/LASTFM_API_KEY", [{"stdout": "AccessToKeyVaultDenied\n"}]]])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("AccessToKeyVaultDenied", run.stderr)
        sleeps = [line for line in self.lines(without=()) if line.startswith("sleep")]
        self.assertEqual(sleeps, ["sleep 15"] * 39)


class AfterDeploying(Hooks):
    def setUp(self):
        super().setUp()
        (self.root / "target").mkdir()
        self.package = self.zip(self.root / "target/function-app.zip")

    def test_deploy_then_run_then_wait_for_the_milestone(self):
        line = [{"stdout": ""}, {"stdout": "rj: work item done, 200 plays, more to come\n"}]
        run = self.run_hook("postdeploy", [LISTED, ["loganalytics", line]])
        self.assertEqual(run.returncode, 0, run.stderr)
        order = [
            self.position("functionapp deployment source config-zip", "--src target/function-app.zip", "--build-remote false"),
            self.position("/functions?"),
            self.position("--method post", "/hostruntime/admin/functions/enqueue_users"),
            self.position("loganalytics", "AppTraces"),
        ]
        self.assertEqual(order, sorted(order))
        self.assertIn("rj: work item done, 200 plays", run.stderr)
        arguments = self.calls()[order[3]]["arguments"]
        query = json.loads(arguments[arguments.index("--body") + 1])["query"]
        # Since the timer was told to run: an older line would say nothing about this package.
        self.assertRegex(query, r"TimeGenerated > datetime\(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)")

    def test_a_refusal_in_the_log_is_a_failure_with_its_reason(self):
        refused = "rj: work item refused, 0 plays, refused Last.fm rejects the key (code 10)\n"
        run = self.run_hook("postdeploy", [LISTED, ["loganalytics", [{"stdout": refused}]]])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("Last.fm rejects the key (code 10)", run.stderr)

    def test_every_wait_ends(self):
        for scene in ([["/functions\\?", [{"exit": 1}]]], [LISTED, ["hostruntime", [{"exit": 1}]]], [LISTED]):
            run = self.run_hook("postdeploy", scene)
            self.assertNotEqual(run.returncode, 0)
            self.assertIn("gave up: waited for", run.stderr)

    def test_a_timer_that_cannot_be_run_from_outside_runs_by_its_schedule(self):
        run = self.run_hook("postdeploy", [LISTED, ["hostruntime", [{"exit": 1}]]])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("deployed, but the timer could not be run from here: it runs by its schedule", run.stderr)
        self.assertFalse([line for line in self.lines() if "loganalytics" in line])

    def test_it_waits_for_every_function_of_the_package(self):
        run = self.run_hook("postdeploy", [LISTED_BEFORE])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn(f"waited for the functions {' '.join(FUNCTIONS)} to be listed (last seen: enqueue_users fetch_pages)", run.stderr)

    def test_it_does_not_wait_for_functions_that_an_older_package_lacks(self):
        self.zip(self.package, FILES[:4])
        run = self.run_hook("postdeploy", [LISTED_BEFORE], PAUSED="true")
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_a_paused_app_is_not_run(self):
        run = self.run_hook("postdeploy", [LISTED], PAUSED="true")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertFalse([line for line in self.lines() if "hostruntime" in line])

    def test_a_deployment_that_fails_is_not_waited_for(self):
        run = self.run_hook("postdeploy", [["config-zip", [{"exit": 1}]]])
        self.assertNotEqual(run.returncode, 0)
        self.assertEqual(len(self.calls()), 1)


class BeforeProvisioning(Hooks):
    def provision(self, scene=(), **extra):
        return self.run_hook("preprovision", [*scene, NEW_AZ], **extra)

    def test_a_deleted_vault_is_brought_back_into_its_group(self):
        scene = [["list-deleted", [{"stdout": "kv-old\twesteurope\n"}]], ["provider show", [{"stdout": "Registered\n"}]]]
        run = self.provision(scene)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("/resourceGroups/rg-lastfm-archive-test/", self.lines()[self.position("list-deleted")])
        group = self.position("group create --name rg-lastfm-archive-test --location westeurope", "azd-env-name=test")
        self.assertLess(group, self.position("keyvault recover --name kv-old --location westeurope"))

    def test_nothing_is_brought_back_when_nothing_was_deleted(self):
        run = self.provision([["provider show", [{"stdout": "Registered\n"}]]])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertFalse([line for line in self.lines() if "recover" in line or "create" in line or "register " in line])

    def test_private_mode_registers_the_provider_of_the_subnet(self):
        states = [{"stdout": "NotRegistered\n"}, {"stdout": "Registering\n"}, {"stdout": "Registered\n"}]
        run = self.provision([["provider show", states]])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual([line.split()[2] for line in self.lines() if line.startswith("az provider")], ["show", "register", "show", "show"])

    def test_public_mode_needs_no_provider(self):
        run = self.provision(NETWORK="public")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertFalse([line for line in self.lines() if "provider" in line])

    def test_a_named_environment_has_its_file_s_settings(self):
        run = self.provision(AZURE_ENV_NAME="dev")
        self.assertEqual(run.returncode, 0, run.stderr)
        settings = [line for line in self.lines() if line.startswith("azd env set")]
        self.assertIn("azd env set NETWORK public", settings)
        self.assertIn("azd env set ARCHIVE_LOCK false", settings)
        self.assertIn("azd env set SYNC_SCHEDULE 0 0 * * * *", settings)
        self.assertFalse([line for line in self.lines() if "provider" in line])

    def test_without_a_subscription_it_says_how_to_choose_one(self):
        run = self.provision(AZURE_SUBSCRIPTION_ID=None)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("azd env set AZURE_SUBSCRIPTION_ID", run.stderr)
        self.assertEqual(self.calls(), [])

    def test_an_azure_cli_that_would_wait_for_ever_is_refused(self):
        for version in ("2.86.0", "1.99.0", "", "unknown"):
            run = self.run_hook("preprovision", [["^az version", [{"stdout": version}]]])
            self.assertNotEqual(run.returncode, 0, version)
            self.assertIn("2.87 or newer is needed", run.stderr)
        self.assertEqual(self.provision([["^az version", [{"stdout": "2.100.1\n"}]]], NETWORK="public").returncode, 0)

    def test_who_is_not_logged_in_is_told(self):
        run = self.provision([["account show", [{"exit": 1}]]])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("az login", run.stderr)
        self.assertIn("account show", self.lines()[-1])


class BeforeDeleting(Hooks):
    def test_the_lock_is_taken_off_and_waited_for(self):
        run = self.run_hook("predown", [["--method get .*/locks/keep", [{}, {}, {"exit": 1}]]])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("--method delete", self.lines()[1])
        self.assertIn("starchivex/providers/Microsoft.Authorization/locks/keep", self.lines()[1])
        self.assertEqual(len(self.lines()), 4)
        self.assertIn("`azd provision` puts it back", run.stderr)

    def test_without_a_lock_nothing_is_deleted(self):
        run = self.run_hook("predown", [["--method get .*/locks/keep", [{"exit": 1}]]])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(len(self.lines()), 1)


class Package(Hooks):
    def make(self, files=FILES, mode=0o755):
        return self.zip(self.folder / "release.zip", files, mode)

    def test_the_package_of_a_release_is_taken_as_it_is(self):
        package = self.make()
        run = self.run_hook("package", PACKAGE=package)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual((self.root / "target/function-app.zip").read_bytes(), Path(package).read_bytes())

    def test_a_package_that_is_not_there_is_named(self):
        run = self.run_hook("package", PACKAGE="nowhere.zip")
        self.assertNotEqual(run.returncode, 0)
        self.assertEqual(run.stderr, "package: there is no package `nowhere.zip`\n")

    def test_a_wrong_package_is_refused(self):
        cases = [
            (FILES[1:], 0o755, "missing at the zip's root: host.json"),
            (tuple(f"app/{name}" for name in FILES), 0o755, "missing at the zip's root"),
            (FILES, 0o644, "cannot be executed"),
            ((*FILES, "local.settings.json"), 0o755, "local.settings.json"),
        ]
        for files, mode, words in cases:
            run = self.run_hook("package", PACKAGE=self.make(files, mode))
            self.assertNotEqual(run.returncode, 0)
            self.assertIn(words, run.stderr)

    def test_without_the_musl_target_it_says_what_to_run(self):
        run = self.run_hook("package", [["rustup", [{"stdout": "x86_64-unknown-linux-gnu\n"}]]])
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("rustup target add x86_64-unknown-linux-musl", run.stderr)


if __name__ == "__main__":
    unittest.main()
