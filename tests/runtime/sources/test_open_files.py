"""Images and audio may come in whatever holds a file's bytes, and in the formats that telephones write."""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from edgephi import Model, SamplingOptions
from edgephi.audio.decoding import load_audio
from edgephi.base.errors import ConfigError
from edgephi.images.decoding import load_image
from edgephi.sources.open_files import plain_source
from support.bundles import small_bundle
from support.signals import random_audio, random_image

IMAGE = Image.fromarray(random_image("buffers", 60, 40))


def _encoded(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, kind, **options)
    return file.getvalue()


def _recording() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, random_audio("buffers", 0.5, 16000), 16000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _written(content: bytes) -> BinaryIO:
    """A buffer as a program leaves it that has just written to it: at its end."""
    buffer = io.BytesIO()
    buffer.write(content)
    return buffer


def _spooled(content: bytes) -> Any:
    """As servers keep uploads."""
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - closed by the test
    file.write(content)
    return file


def _close(source: object) -> None:
    if isinstance(source, tempfile.SpooledTemporaryFile):
        source.close()


HOLDERS: list[Callable[[bytes], Any]] = [
    bytearray, memoryview, io.BytesIO, _written, lambda content: io.BufferedReader(io.BytesIO(content)), _spooled,
    lambda content: memoryview(bytearray(content))[:],
]  # fmt: skip


class _Stream(io.RawIOBase):
    """Cannot go back, as what comes through a socket."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest

    def read(self, size: int = -1) -> bytes:
        return self.readall()


@pytest.mark.parametrize("holder", [*HOLDERS, _Stream])
def test_a_image_is_the_same_in_every_holder(holder: Callable[[bytes], Any]):
    content = _encoded("PNG")
    source = holder(content)
    assert load_image(source).tobytes() == load_image(content).tobytes()
    _close(source)


@pytest.mark.parametrize("holder", [*HOLDERS, _Stream])
def test_audio_is_the_same_in_every_holder(holder: Callable[[bytes], Any]):
    content = _recording()
    source = holder(content)
    np.testing.assert_array_equal(load_audio(source).samples, load_audio(content).samples)
    _close(source)


@pytest.mark.parametrize("address", ["data:;base64,{}", "DATA:application/octet-stream;Base64, {}\n"])
def test_a_data_address_stands_for_its_bytes_wherever_a_path_may(address: str):
    def data_of(content: bytes) -> str:
        return address.format(base64.b64encode(content).decode())

    assert load_image(data_of(_encoded("PNG"))).tobytes() == load_image(_encoded("PNG")).tobytes()
    np.testing.assert_array_equal(load_audio(data_of(_recording())).samples, load_audio(_recording()).samples)


def test_damaged_data_is_not_printed():
    with pytest.raises(ConfigError, match="image: not valid base64") as refusal:
        load_image("data:image/png;base64,@" + "A" * 100_000)
    assert len(str(refusal.value)) < 100
    with pytest.raises(ConfigError, match="cannot be opened") as refusal:
        load_image("iVBORw0KGgo" * 10_000)  # base64 without an address
    assert len(str(refusal.value)) < 300


def test_a_file_that_is_named_like_an_address_is_still_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("data:,x").write_bytes(_encoded("PNG"))
    assert load_image("data:,x").size == IMAGE.size


def test_an_open_file_is_read_whole_and_left_where_it_was(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(_encoded("PNG"))
    with open(tmp_path / "a.png", "rb") as file:
        file.seek(7)
        for _ in range(2):
            assert load_image(file).size == IMAGE.size
            assert file.tell() == 7


def test_a_request_takes_them_beside_messages_and_in_parts():
    few = SamplingOptions(max_new_tokens=2)
    png, wav = _encoded("PNG"), _recording()
    with Model.load(small_bundle(), threads=1) as model:
        expected = model.generate("x", images=[png], audio=[wav], options=few).token_ids
        assert model.generate("x", images=[io.BytesIO(png)], audio=[bytearray(wav)], options=few).token_ids == expected
        parts = [{"type": "image", "image": memoryview(png)}, {"type": "audio", "audio": io.BytesIO(wav)}]
        content = [*parts, {"type": "text", "text": "x"}]
        assert model.generate([{"role": "user", "content": content}], options=few).token_ids == expected


@pytest.mark.parametrize("load", [load_image, load_audio])
def test_a_file_that_cannot_be_read_is_reported(load: Callable[[Any], Any], tmp_path: Path):
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ConfigError, match="of an open file: cannot be read"):
        load(closed)
    with pytest.raises(ConfigError, match="open as text; open it with mode 'rb'"):
        load(io.StringIO("x"))
    with pytest.raises(ConfigError, match="of 0 bytes: empty"):
        load(io.BytesIO())


def test_other_sources_stay_what_they_are():
    for source in ("a.png", Path("a"), b"x", IMAGE, np.zeros(3), (np.zeros(3), 16000), None):
        assert plain_source(source, "image") is source


@pytest.mark.parametrize("options", [{}, {"quality": 100, "subsampling": "4:4:4"}, {"speed": 10}])
def test_avif_images_are_read(options: dict[str, Any]):
    found = np.asarray(load_image(_encoded("AVIF", **options)), np.int16)
    assert found.shape == (IMAGE.height, IMAGE.width, 3)
    assert np.abs(found - np.asarray(IMAGE, np.int16)).mean() < 40


def _heic(**options: Any) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    smooth = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    file = io.BytesIO()
    heif.from_pillow(smooth).save(file, quality=90, **options)
    return file.getvalue()


def test_heic_images_are_read_with_the_extra():
    found = np.asarray(load_image(_heic()), np.int16)
    smooth = np.asarray(Image.linear_gradient("L").resize((64, 48)).convert("RGB"), np.int16)
    assert np.abs(found - smooth).mean() < 4


def test_a_heic_image_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch):
    content = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 200
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ConfigError, match=r'a HEIC image; run: pip install "edgephi\[media\]", or save it as JPEG'):
        load_image(content)


def test_a_damaged_heic_image_is_refused():
    content = _heic()
    for length in (40, len(content) // 2, len(content) - 20):
        with pytest.raises(ConfigError, match="damaged image"):
            load_image(content[:length])


def test_other_files_of_the_same_family_are_no_images():
    with pytest.raises(ConfigError, match="not an image; give one of PNG"):
        load_image(b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + b"\0" * 200)
