"""Application trees whose programs misbehave, as those of a bad release."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

#: Put before the server's first line.
CRASHES = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
#: Says that it serves, and then does nothing, not even for the watchdog.
HANGS = """import os, socket, sys, time
if len(sys.argv) > 1 and sys.argv[1] == "serve":
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    time.sleep(3600)
"""
REFUSES = "import sys\nif 'probe' in sys.argv:\n    print('error: other logits', file=sys.stderr)\n    sys.exit(5)\n"
_SERVER, _ANY = "edgephi_serve/cli.py", "edgephi/__main__.py"
FAULTS = {"crashes": (_SERVER, CRASHES), "hangs": (_ANY, HANGS), "refuses": (_ANY, REFUSES)}


def with_fault(app: Path, copy: Path, fault: str) -> Path:
    """A copy of the folder of `edgephi-pack app`; unchanged files are links."""
    name, code = FAULTS[fault]
    shutil.copytree(app, copy, copy_function=os.link)
    place = copy / "app" / name
    text = place.read_text(encoding="utf-8")
    place.unlink()
    future = "from __future__ import annotations\n"
    assert future in text
    place.write_text(text.replace(future, future + code, 1), encoding="utf-8")
    return copy
