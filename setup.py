"""What pyproject.toml cannot say: the wheel is built from nothing.

setuptools copies modules into build/lib and packs all it finds there, those of earlier builds that are deleted since
included.
"""

from __future__ import annotations

import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class FreshBuild(build_py):
    """Copies the modules into an empty folder."""

    def run(self) -> None:
        """Empty it first."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": FreshBuild})
