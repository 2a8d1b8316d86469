"""`python -m edgephi_agent`."""

from __future__ import annotations

from edgephi_agent.cli import program

if __name__ == "__main__":
    program()
