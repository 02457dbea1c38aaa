"""Checks of the whole tree: secrets, what git ignores, shell scripts, workflows and their schemas."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).parent
TOOLS = Path(sys.executable).parent

# What looks like a secret. Text that is public or made up stands in ALLOWED with the reason.
SECRETS = {
    "a storage key": r"AccountKey=[A-Za-z0-9+/]{40,}={0,2}",
    "a key of 88 characters": r"(?<![A-Za-z0-9+/-])[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])",  # not after the dash of `sha512-`
    "a signature": r"[?&]sig=[A-Za-z0-9%]{20,}",
    "a Last.fm key": r"(?i)api_?key['\"]?\s*[:=]\s*['\"]?[0-9a-f]{32}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token of GitHub": r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})\b",
    "a client secret of Entra": r"\b[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{34}\b",
    "a token": r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}",
    "an access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
}
ALLOWED = {
    # Azurite's account has one key, the same everywhere, which is documented.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}
# Names that must never be committed, and names that must be.
IGNORED = [
    ".env", ".env.production", "secrets.local", "run.log", "rj.watermark", ".azure/dev/.env", "local.settings.json", "target/x", "node_modules/x",
]  # fmt: skip
KEPT = [".env.example", "azure.yaml", "local.settings.example.json", "infra/main.parameters.json"]
NEVER_TRACKED = re.compile(r"(^|/)\.env(\.(?!example$)[^/]*)?$|\.(env|local|secret|pem|pfx|p12|key)$|(^|/)local\.settings\.json$")
ECOSYSTEMS = {
    "cargo": r"(^|/)Cargo\.lock$",
    "github-actions": r"^\.github/workflows/",
    "docker": r"(^|/)Dockerfile$",
    "npm": r"(^|/)package\.json$",
    "pip": r"(^|/)requirements\.txt$",
}


def tracked(root):
    run = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True)
    return sorted(name for name in run.stdout.split("\0") if name and (root / name).is_file())


def secrets(name, text):
    """What looks like a secret in one text."""
    found = []
    for what, pattern in SECRETS.items():
        for match in re.finditer(pattern, text):
            if not any(allowed in match[0] for allowed in ALLOWED):
                found.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {what}")
    return found


def secrets_in_tree(root):
    problems = []
    for name in tracked(root):
        if NEVER_TRACKED.search(name):
            problems.append(f"{name}: must not be committed")
        try:
            problems += secrets(name, (root / name).read_text())
        except UnicodeDecodeError:
            continue  # not text
    return problems


def ignored(root):
    """Rows of .gitignore that are missing, or go too far."""
    run = subprocess.run(["git", "-C", str(root), "check-ignore", "--no-index", *IGNORED, *KEPT], capture_output=True, text=True, check=False)
    hidden = set(run.stdout.splitlines())
    return [f"git does not ignore {name}" for name in IGNORED if name not in hidden] + [f"git ignores {name}" for name in KEPT if name in hidden]


def shell_scripts(root):
    """Every file that says on its first line that it is for a shell."""
    found = []
    for name in tracked(root):
        with open(root / name, "rb") as file:
            first = file.readline(64)
        if re.match(rb"#!.*\b(ba)?sh\b|# shellcheck shell=", first):
            found.append(name)
    return found


def run(*command, root):
    done = subprocess.run([str(TOOLS / command[0]), *command[1:]], cwd=root, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).strip() or f"{command[0]} failed"]


def shellcheck(root, scripts):
    return run("shellcheck", "--external-sources", *scripts, root=root)


def workflows(root):
    """Schemas and hardening of everything that GitHub reads."""
    files = sorted(str(file.relative_to(root)) for file in (root / ".github/workflows").glob("*.yml"))
    problems = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files, root=root)
    problems += run("check-jsonschema", "--builtin-schema", "custom.github-workflows-require-timeout", *files, root=root)
    problems += run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml", root=root)
    problems += run("zizmor", "--offline", "--no-progress", "--persona=pedantic", "--format=plain", ".github", root=root)
    seen = (root / ".github/zizmor.yml").read_text()
    for name in files:
        for number, line in enumerate((root / name).read_text().splitlines(), 1):
            used = re.search(r"uses: ([\w./-]+)@(\S+)(.*)", line)
            if used and not re.search(rf"^#   .*{re.escape(used[1])}(,|$)", seen, re.M):
                problems.append(f"{name}:{number}: zizmor.yml does not say where the commit of {used[1]} was seen")
            if re.match(r"\s*(- run: )?! ", line):
                problems.append(f"{name}:{number}: `!` before a command never ends a step")
            if used and re.fullmatch(r"[0-9a-f]{40}", used[2]) and not re.search(r"# v\d", used[3]):
                problems.append(f"{name}:{number}: the version of the commit is not said")
    return problems


def azure_yaml(root):
    problems = run("check-jsonschema", "--schemafile", str(HERE / "azure-yaml.schema.json"), "azure.yaml", root=root)
    for name, hook in yaml.safe_load((root / "azure.yaml").read_text())["hooks"].items():
        script = root / hook["run"]
        if not script.is_file() or not script.stat().st_mode & 0o100:
            problems.append(f"azure.yaml: {name}: `{hook['run']}` is no program")
    return problems


def dependabot(root):
    """Every folder with a manifest has its entry, all monthly and into `component-updates`."""
    updates = yaml.safe_load((root / ".github/dependabot.yml").read_text())["updates"]
    problems, covered = [], set()
    for update in updates:
        for folder in update.get("directories", [update.get("directory")]):
            covered.add((update["package-ecosystem"], folder.strip("/")))
        if update["target-branch"] != "component-updates" or update["schedule"]["interval"] != "monthly" or "groups" not in update:
            problems.append(f"dependabot.yml: {update['package-ecosystem']} is not monthly, grouped, into component-updates")
    for name in tracked(root):
        for ecosystem, pattern in ECOSYSTEMS.items():
            folder = str(Path(name).parent).strip(".") if ecosystem != "github-actions" else ""
            if re.search(pattern, name) and (ecosystem, folder) not in covered:
                problems.append(f"dependabot.yml: no entry for {ecosystem} in /{folder}")
    return sorted(set(problems))


def kubernetes(path):
    """What Container Apps cannot say, and the example for Kubernetes must."""
    manifest = yaml.safe_load(path.read_text())
    pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    problems = []
    for container in pod["containers"]:
        context = container.get("securityContext", {})
        wanted = {"readOnlyRootFilesystem": True, "privileged": False, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        problems += [f"{container['name']}: {name} must be {value}" for name, value in wanted.items() if context.get(name) != value]
        if "limits" not in container.get("resources", {}):
            problems.append(f"{container['name']}: no limits")
    if not pod.get("securityContext", {}).get("runAsNonRoot") or pod.get("restartPolicy") != "Never":
        problems.append("runs as root, or again and again")
    return problems


def dockerfile(path):
    """The image: two stages, no shell, no root, and nothing from a moving tag."""
    text = path.read_text()
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.M)
    last = text[text.rindex("\nFROM ") :]
    problems = []
    if len(stages) < 2:
        problems.append("one stage: the tools of the build are in the image")
    if not re.fullmatch(r"gcr\.io/distroless/static-debian\d+:nonroot(@sha256:[0-9a-f]{64})?", stages[-1][0]):
        problems.append(f"the base `{stages[-1][0]}` is not distroless static for others than root")
    if not re.search(r"^USER 65532(:65532)?$", last, re.M):
        problems.append("the user is not 65532")
    if re.search(r"^(RUN|ADD) ", last, re.M):
        problems.append("the last stage runs or adds something")
    problems += [f"`{image}` is a moving tag" for image, _ in stages if ":" not in image or image.endswith(":latest")]
    return problems


def links(root, names):
    """Links to files of the repository that are not there."""
    problems = []
    for name in names:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (root / name).read_text()):
            if "://" not in target and not ((root / name).parent / target).exists():
                problems.append(f"{name}: there is no {target}")
    return problems


