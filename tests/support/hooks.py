"""The scripts for updaters that docs/appliance.md has."""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs/appliance.md"
#: By the first word before each.
HOOKS = dict(re.findall(r"^(\w+): [^\n]*\n(?:[^\n]+\n)*\n```sh\n(.*?)```", _PAGE.read_text(), re.MULTILINE | re.DOTALL))
