"""A recipe gives the bytes that it gave: whoever exports again, with a later version, must not get another model.

The figures change only where a recipe is changed on purpose, and the change belongs into its notes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgephi_export import ExportOptions, export
from support.bundles import small_checkpoint

#: sha256 over names and contents of all weight files, its first 16 digits. Of a GPTQ recipe there is none: its codes
#: depend on how a processor sums.
DIGESTS = {
    "fp32": "e8f67e4154c56a52",
    "int8": "0c3944033641a257",
    "int4": "2b639d9affba5fd1",
    "int4-fast": "e527249d2408f296",
    "fp16": "0da8c720f1066837",
    "int4-gpu": "934d8fdaf89e44cd",
}


@pytest.mark.parametrize("recipe", DIGESTS)
def test_a_recipe_keeps_its_bytes(tmp_path: Path, recipe: str):
    folder = export(small_checkpoint("native").path, tmp_path / "m", ExportOptions(recipe=recipe))
    digest = hashlib.sha256()
    for path in sorted((folder / "weights").iterdir()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    assert digest.hexdigest()[:16] == DIGESTS[recipe]
