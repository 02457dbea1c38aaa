"""Prints NAME=value for each parameter of an environment's file, NAME being the azd variable that main.parameters.json reads it from."""

import json
import re
import sys
from pathlib import Path

main = json.loads((Path(__file__).parents[1] / "main.parameters.json").read_text())["parameters"]
for parameter, entry in json.loads(Path(sys.argv[1]).read_text())["parameters"].items():
    variable = re.fullmatch(r"\$\{([A-Z_]+)(=.*)?\}", main[parameter]["value"])[1]
    value = entry["value"]
    print(f"{variable}={str(value).lower() if isinstance(value, bool) else value}")
