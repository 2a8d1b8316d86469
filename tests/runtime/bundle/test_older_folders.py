"""What earlier releases wrote to a disk is still read: a model folder of each version and a prefix saved from it.

The folders hold a small random model in every mode, exported as int4; that of version 3 has an int8 cache. They were
written once and are never made anew.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model, SamplingOptions

_ASSETS = Path(__file__).parents[2] / "assets"
_IMAGE = (np.arange(60 * 60 * 3) % 251).astype(np.uint8).reshape(60, 60, 3)
_AUDIO = ((np.arange(4000) % 97 - 48) / np.float32(100), 16000)
_OPTIONS = SamplingOptions(max_new_tokens=4, temperature=0)
_SAVED_POSITIONS = 36


@pytest.fixture(scope="module", params=["version-2", "version-3"])
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(_ASSETS / request.param / "model.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize(
    "media", [{}, {"images": [_IMAGE]}, {"audio": [_AUDIO]}, {"images": [_IMAGE], "audio": [_AUDIO]}]
)
def test_a_folder_of_an_earlier_release_still_answers_in_every_mode(older: Path, media: dict[str, list[object]]):
    with Model.load(older / "model", check_hashes=True) as model:
        assert model.generate("What is this?", options=_OPTIONS, **media).timing.new_tokens == 4


def test_a_prefix_saved_with_an_image_by_an_earlier_release_still_spares_its_prefill(older: Path):
    with Model.load(older / "model") as model:
        expected = model.generate("What is this?", images=[_IMAGE], options=_OPTIONS)
    assert expected.timing.cached_tokens == 0
    with Model.load(older / "model") as model:
        assert model.load_prefix(older / "image.prefix") == _SAVED_POSITIONS
        reply = model.generate("What is this?", images=[_IMAGE], options=_OPTIONS)
    assert reply.timing.cached_tokens == _SAVED_POSITIONS - 1  # the last one is read again for its logits
    assert reply.token_ids == expected.token_ids
