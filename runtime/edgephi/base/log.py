"""The loggers of this package: all under `edgephi`, and silent until a program asks for them.

INFO reports what is loaded and how each request went, DEBUG every pass. Neither holds texts, images or audio.
"""

from __future__ import annotations

import logging

ROOT = "edgephi"

logging.getLogger(ROOT).addHandler(logging.NullHandler())


def logger(name: str) -> logging.Logger:
    """The logger of a module, such as `edgephi.decoder.decoder` for its `__name__`."""
    return logging.getLogger(name)
