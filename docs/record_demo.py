"""Draws `docs/demo.svg`, the README's picture: the demo's real output, as a terminal shows it.

Run it from the project's root: `.venv/bin/python docs/record_demo.py build/nano nano/samples docs/demo.svg`
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100


def main(model: str, samples: str, target: str) -> None:
    """Run the demo and write its output as a picture; stop if an answer was wrong."""
    command = ["edgephi", "demo", model, "--samples", samples]
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    executable = Path(sys.executable).with_name("edgephi")
    done = subprocess.run([executable, *command[1:]], env=environment, capture_output=True, text=True, check=True)
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {' '.join(command)}\n{done.stdout.rstrip()}"))
    picture = console.export_svg(title="edgephi")
    # Rich links a web font; the picture must not load anything.
    Path(target).write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
