"""Draws `docs/demo.svg`, the image in the README: the demo's real output, as a terminal shows it.

Run it from the project's root: `.venv/bin/python docs/record_demo.py models/nano nano/samples docs/demo.svg`
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100


def main(model: str, samples: str, target: str) -> None:
    """Run the demo and write its output as an image; stop if an answer was wrong."""
    command = ["edgephi", "demo", model, "--samples", samples]
    executable = Path(sys.executable).with_name("edgephi")
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {' '.join(command)}\n{_on_terminal([str(executable), *command[1:]]).rstrip()}"))
    image = console.export_svg(title="edgephi")
    # Rich links a web font; the image must not load anything.
    Path(target).write_text(re.sub(r"@font-face \{.*?\}\s*", "", image, flags=re.DOTALL), encoding="utf-8")


def _on_terminal(command: list[str]) -> str:
    """What the command prints where stdout is a terminal, so in colours."""
    master, slave = pty.openpty()
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(COLUMNS)}
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | terminal
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.PIPE, env=environment) as process:
        os.close(slave)
        pieces = []
        with suppress(OSError):  # the kernel's way to say that the other end was closed
            while piece := os.read(master, 4096):
                pieces.append(piece)
    os.close(master)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
    return b"".join(pieces).decode().replace("\r\n", "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
