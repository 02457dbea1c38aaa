"""Stands in for `az`, `azd` and `sleep`: writes down how it was called, and answers as the test says."""

import fcntl
import json
import os
import re
import sys
from pathlib import Path

name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
scene = json.loads(Path(os.environ["SCENE"]).read_text())
line = " ".join([name, *arguments])
# az reads standard input when it is told to. azd may at any time, so no hook may leave it what somebody else waits for.
stdin = sys.stdin.read() if "@-" in arguments or name == "azd" else None
with open(os.environ["CALLS"], "a+", encoding="utf-8") as calls:
    fcntl.flock(calls, fcntl.LOCK_EX)
    calls.seek(0)
    before = [json.loads(entry)["line"] for entry in calls]
    calls.write(json.dumps({"line": line, "arguments": arguments, "stdin": stdin}) + "\n")
for pattern, answers in scene:
    if re.search(pattern, line):
        asked = sum(1 for entry in before if re.search(pattern, entry))
        answer = answers[min(asked, len(answers) - 1)]
        sys.stdout.write(answer.get("stdout", ""))
        sys.exit(answer.get("exit", 0))
