"""The machine that a release is for."""

from __future__ import annotations

import re
from dataclasses import dataclass

ARCHITECTURES = ("x86_64", "aarch64")
_OLDEST_GLIBC = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Linux device.

    Attributes:
        arch: `x86_64` or `aarch64`, as `uname -m` has it.
        python: Minor version, such as `3.11`.
        glibc: The oldest that it may have, such as `2.31`.
    """

    arch: str
    python: str
    glibc: str = "2.31"

    def __post_init__(self) -> None:
        if self.arch not in ARCHITECTURES:
            raise ValueError(f"the architecture is {self.arch!r}; use {' or '.join(ARCHITECTURES)}")
        if not re.fullmatch(r"3\.\d\d", self.python):
            raise ValueError(f"Python is {self.python!r}; give a minor version, such as 3.11")
        if not re.fullmatch(r"2\.\d\d", self.glibc) or int(self.glibc[2:]) < _OLDEST_GLIBC:
            raise ValueError(f"glibc is {self.glibc!r}; give 2.{_OLDEST_GLIBC} or newer, such as 2.31")

    def pip_options(self) -> list[str]:
        """Options with which pip chooses wheels for this machine, and nothing that has to be built."""
        newest = int(self.glibc[2:])
        tags = [f"manylinux_2_{minor}_{self.arch}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
        platforms = [option for tag in (*tags, f"manylinux2014_{self.arch}") for option in ("--platform", tag)]
        return ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python, *platforms]

    def markers(self, extra: str = "") -> dict[str, str]:
        """Values of environment markers that hold there."""
        return {
            "extra": extra,
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
