"""`python -m edgephi_pack`."""

from __future__ import annotations

from edgephi_pack.cli import program

if __name__ == "__main__":
    program()
