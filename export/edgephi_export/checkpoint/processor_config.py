"""Reads how many tiles an image is cut into, from whichever file the processor was saved in.

transformers 4 saves preprocessor_config.json; 5 saves processor_config.json, whose section image_processor is the same.
"""

from __future__ import annotations

from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.config import CheckpointLayout
from edgephi_export.checkpoint.json_fields import Fields

_KEY = "dynamic_hd"
_OLD, _NEW, _SECTION = "preprocessor_config.json", "processor_config.json", "image_processor"
#: Phi4MultimodalImageProcessor's own default, in transformers 4.57 and 5.24; the original layout's code has none.
_DEFAULT = 36


def read_max_crops(folder: Path, layout: CheckpointLayout) -> int:
    """The most tiles of an image.

    Raises:
        ArtifactError: A file is damaged, the files differ, or none states it where there is no default.
    """
    found: dict[str, int] = {}
    for name in (_OLD, _NEW):
        if not (folder / name).is_file():
            continue
        whole = Fields.load(folder / name)
        for fields in (whole, whole.section(_SECTION, {})):
            if fields.values.get(_KEY) is not None:
                found[fields.where] = fields.positive(_KEY)
    if len(set(found.values())) > 1:
        stated = " and ".join(f"{value} in {where}" for where, value in found.items())
        raise ArtifactError(f"{folder}: {_KEY} is {stated}; make them equal")
    if found:
        return next(iter(found.values()))
    if layout == "phi4_multimodal":
        return _DEFAULT
    raise ArtifactError(
        f"{folder / _OLD}: missing, or without {_KEY}, which states how many tiles an image is cut into. Add it, or "
        "leave the image tower out: --modalities text,speech"
    )
