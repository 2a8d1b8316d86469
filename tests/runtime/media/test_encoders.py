"""How views and windows reach the encoder graphs, and how their outputs are put together.

The graphs are replaced by arithmetic that shows where every row came from; the expected rows are made by plain loops.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from edgephi.audio.log_mel import num_audio_rows
from edgephi.base.cancellation import Stopped
from edgephi.base.errors import ConfigError, EdgeError
from edgephi.bundle.manifest import SpeechInfo, VisionInfo
from edgephi.bundle.tensor_ref import TensorRef
from edgephi.images.crops import num_image_rows, position_ids, split_views
from edgephi.media.encoders import SpeechEncoder, VisionEncoder
from support.signals import random_image

HIDDEN = 3
ROW_SEPARATOR = np.array([-1, -1, -1], np.float32)
GLOBAL_SEPARATOR = np.array([-2, -2, -2], np.float32)


def reference(name: str) -> TensorRef:
    return TensorRef(file=name, offset=0, dtype="float32", shape=(HIDDEN,))


def bundle(window_rows: int = 5, projections: tuple[str, ...] = ("speech", "vision")) -> SimpleNamespace:
    """What the encoders read of a bundle: crops of 56 px, 2x2 rows a view; windows of a few rows."""
    vision = VisionInfo(
        graph="vision.onnx",
        crop_size=56,
        patch_size=14,
        max_crops=36,
        row_separator=reference("row"),
        global_separator=reference("global"),
    )
    speech = SpeechInfo(
        graph="speech.onnx", num_mels=80, time_reduction=8, window_rows=window_rows, projections=projections
    )
    tensors = {"row": ROW_SEPARATOR, "global": GLOBAL_SEPARATOR}
    return SimpleNamespace(
        path=Path("model"),
        manifest=SimpleNamespace(vision=vision, speech=speech),
        file=lambda name: Path("model") / name,
        tensor=lambda ref: tensors[ref.file],
    )


def vision(open_session) -> VisionEncoder:
    folder = bundle()
    return VisionEncoder(folder, folder.manifest.vision, open_session)


def speech(open_session, **sizes) -> SpeechEncoder:
    folder = bundle(**sizes)
    return SpeechEncoder(folder, folder.manifest.speech, open_session)


class FakeVision:
    """Row (y, x) of the n-th view it is given becomes [n, y, x]; remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[dict[str, np.ndarray]] = []

    def run(self, output_names, inputs, run_options=None):
        assert output_names == ["image_features"]
        self.calls.append(inputs)
        rows = [[len(self.calls) - 1, y, x] for y in range(2) for x in range(2)]
        return [np.array([rows], np.float32)]


@pytest.mark.parametrize("size", [(40, 56), (100, 60), (60, 160), (300, 20), (168, 112)])
def test_image_rows_are_assembled_in_the_models_order(size):
    """Tiles before the global view, separators after every row: any other order reads as another image."""
    views = split_views(Image.fromarray(random_image("rows", *size)), crop_size=56, patch_size=14, max_crops=36)
    mask = views.patch_mask
    useful_rows = sum(int(mask[1 + views.tile_columns * t, ::2, 0].sum()) for t in range(views.tile_rows))
    useful_columns = sum(int(mask[1 + t, 0, ::2].sum()) for t in range(views.tile_columns))
    expected = []
    for row in range(useful_rows):
        for column in range(useful_columns):
            tile = 1 + (row // 2) * views.tile_columns + column // 2
            expected.append([tile, row % 2, column % 2])
        expected.append(ROW_SEPARATOR)
    expected.append(GLOBAL_SEPARATOR)
    for row in range(2):
        expected += [[0, row, 0], [0, row, 1], ROW_SEPARATOR]
    rows = vision(lambda path: FakeVision()).encode(views)
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))
    assert len(rows) == num_image_rows(views)
    assert rows.dtype == np.float32


def test_views_are_encoded_one_at_a_time_with_their_masks_and_positions():
    """37 crops at once would need gigabytes; a wrong mask would let padding speak."""
    views = split_views(Image.fromarray(random_image("masks", 100, 60)), crop_size=56, patch_size=14, max_crops=36)
    session = FakeVision()
    vision(lambda path: session).encode(views)
    assert len(session.calls) == 5
    for index, call in enumerate(session.calls):
        np.testing.assert_array_equal(call["pixel_values"], views.pixels[index][None])
        np.testing.assert_array_equal(call["patch_mask"], views.patch_mask[index].reshape(1, 16))
        np.testing.assert_array_equal(call["position_ids"], position_ids(views.patch_mask)[index][None])
        assert (call["patch_mask"].dtype, call["position_ids"].dtype) == (np.bool_, np.int64)


def test_an_image_that_is_its_own_overview_is_encoded_once():
    """A small square image costs half."""
    views = split_views(Image.fromarray(random_image("square", 56, 56)), crop_size=56, patch_size=14, max_crops=36)
    session = FakeVision()
    rows = vision(lambda path: session).encode(views)
    assert len(session.calls) == 1
    np.testing.assert_array_equal(rows[:6], rows[-6:])
    assert len(rows) == num_image_rows(views)


def test_blank_parts_of_a_page_are_encoded_once():
    page = Image.new("RGB", (168, 168), "white")
    page.paste(Image.fromarray(random_image("line", 50, 50)), (60, 3))
    views = split_views(page, crop_size=56, patch_size=14, max_crops=36)
    session, steps, parts = FakeVision(), [], []
    rows = vision(lambda path: session).encode(views, on_step=lambda: steps.append(1), parts=parts)
    assert (len(session.calls), len(steps), len(parts)) == (3, 10, 10)  # overview, blank tile, tile with the line
    tiles = rows[: 6 * 7].reshape(6, 7, HIDDEN)[:, :6].reshape(3, 2, 3, 2, HIDDEN)[:, 0, :, 0, 0]
    np.testing.assert_array_equal(tiles, [[1, 2, 1], [1, 1, 1], [1, 1, 1]])


def test_equal_pixels_under_another_mask_are_another_view():
    """The white of a page and the white beside it: patches that are masked change what the others see."""
    views = split_views(Image.new("RGB", (100, 60), "white"), crop_size=56, patch_size=14, max_crops=36)
    assert [mask.sum() for mask in views.patch_mask] == [16, 16, 16, 4, 4]
    session = FakeVision()
    vision(lambda path: session).encode(views)
    assert [call["patch_mask"].sum() for call in session.calls] == [16, 16, 4]


def test_the_time_of_an_encoding_leaves_out_the_first_run():
    """That loads the graph: a forecast by it would be many times too long."""
    folder, reported = bundle(), []
    encoder = VisionEncoder(
        folder, folder.manifest.vision, lambda path: FakeVision(), lambda *rate: reported.append(rate)
    )
    views = split_views(Image.fromarray(random_image("time", 100, 28)), crop_size=56, patch_size=14, max_crops=36)
    encoder.encode(views)
    encoder.encode(views)
    masks = views.patch_mask.sum(axis=(1, 2))
    assert [patches for patches, _ in reported] == [masks[1:].sum(), masks.sum()]
    assert all(seconds > 0 for _, seconds in reported)


def halve(rows: np.ndarray) -> np.ndarray:
    """A convolution of stride 2, kernel 3, padding 1 along time, with whole-number weights so that sums are exact."""
    padded = np.concatenate([np.zeros((1, rows.shape[1])), rows, np.zeros((2, rows.shape[1]))])
    count = (len(rows) + 1) // 2
    return np.array([padded[2 * r] + 2 * padded[2 * r + 1] + 3 * padded[2 * r + 2] for r in range(count)]) + 1


def stem(mel: np.ndarray) -> np.ndarray:
    """[T, 80] -> [ceil(T / 8), HIDDEN], strided as the real one is."""
    return halve(halve(halve(mel[:, :HIDDEN].astype(np.float64))))


def attend(rows: np.ndarray, window_rows: int, projection: int) -> np.ndarray:
    """Every row sees its place and the whole window, padding included (which counts, as ones)."""
    window = np.concatenate([rows, np.zeros((window_rows - len(rows), HIDDEN))]) + 1
    mixed = window * 7 + window.sum(axis=0) + np.arange(window_rows)[:, None]
    return (mixed[: len(rows)] + 1000 * projection).astype(np.float32)


class FakeSpeech:
    """The graph's contract: stem, drop rows at the left, pad to the window, attend, remove the padding."""

    def __init__(self) -> None:
        self.calls: list[dict[str, np.ndarray]] = []

    def run(self, output_names, inputs, run_options=None):
        assert output_names == ["audio_features"]
        self.calls.append(inputs)
        rows = stem(inputs["log_mel"][0])[int(inputs["drop_rows"]) :]
        return [attend(rows, int(inputs["window_rows"]), int(inputs["projection"]))[None]]


def mel_frames(frames: int) -> np.ndarray:
    return np.random.default_rng(frames).integers(0, 9, (frames, 80)).astype(np.float32)


@pytest.mark.parametrize("projection", ["speech", "vision"])
@pytest.mark.parametrize("frames", [1, 7, 8, 9, 39, 40, 41, 47, 48, 49, 79, 80, 81, 88, 89, 120, 200])
def test_windows_equal_cutting_the_rows_of_the_whole_audio(frames, projection):
    """A word at a cut must be encoded as in the whole recording; windows of 5 rows are 40 frames."""
    mel = mel_frames(frames)
    rows, place = stem(mel), ("speech", "vision").index(projection)
    if len(rows) <= 5:
        expected = attend(rows, len(rows), place)
    else:
        expected = np.concatenate([attend(rows[start : start + 5], 5, place) for start in range(0, len(rows), 5)])
    encoded = speech(lambda path: FakeSpeech()).encode(mel, projection)
    np.testing.assert_array_equal(encoded, expected)
    assert len(encoded) == num_audio_rows(frames)
    assert encoded.dtype == np.float32


def test_long_audio_reaches_the_graph_in_bounded_pieces():
    """A 30-minute summary must not ask for attention over 22,500 rows."""
    session = FakeSpeech()
    speech(lambda path: session, window_rows=500).encode(mel_frames(9001))
    assert [call["log_mel"].shape for call in session.calls] == [(1, 4000, 80), (1, 4008, 80), (1, 1009, 80)]
    assert [int(call["drop_rows"]) for call in session.calls] == [0, 1, 1]
    assert [int(call["window_rows"]) for call in session.calls] == [500, 500, 500]
    assert {call[name].dtype for call in session.calls for name in ("drop_rows", "window_rows", "projection")} == {
        np.dtype(np.int64)
    }


def test_graphs_are_opened_at_first_use_and_once():
    """A text prompt must not load the encoders, nor a second recording load them again."""
    opened = []

    def open_session(path):
        opened.append(path.name)
        return FakeSpeech()

    encoder = speech(open_session)
    assert opened == []
    encoder.encode(mel_frames(8))
    encoder.encode(mel_frames(9))
    assert opened == ["speech.onnx"]


def test_missing_projection_is_refused():
    """Audio beside an image through the speech projection would be encoded as noise."""
    encoder = speech(lambda path: FakeSpeech(), projections=("speech",))
    with pytest.raises(ConfigError, match=r"no 'vision' projection, only speech; export with"):
        encoder.encode(mel_frames(8), "vision")


def test_a_failure_of_the_library_is_one_line_that_names_the_graph():
    class Broken:
        def run(self, output_names, inputs, run_options=None):
            raise RuntimeError("first line\nsecond line")

    encoder = speech(lambda path: Broken())
    with pytest.raises(EdgeError, match=r"^ONNX Runtime failed in speech.onnx \(first line\)$"):
        encoder.encode(np.zeros((16, 80), np.float32))


@pytest.mark.parametrize("stop_at", [1, 2, 4, 6])
def test_an_encoding_that_is_stopped_between_two_parts_goes_on_to_the_same_rows(stop_at):
    views = split_views(Image.fromarray(random_image("steps", 168, 112)), crop_size=56, patch_size=14, max_crops=36)
    mel = mel_frames(270)  # 7 windows, as many as there are views
    for graph, encode in (
        (FakeVision(), lambda graph, **given: vision(lambda path: graph).encode(views, **given)),
        (FakeSpeech(), lambda graph, **given: speech(lambda path: graph).encode(mel, **given)),
    ):
        parts, steps = [], []
        with pytest.raises(Stopped):
            # An observer that decides at a step, as the server does, stops before that step.
            encode(graph, parts=parts, on_step=partial(steps.append, 1), should_stop=lambda s=steps: len(s) > stop_at)
        assert len(graph.calls) == len(parts) == stop_at
        rows = encode(graph, parts=parts)
        assert len(graph.calls) == 7
        np.testing.assert_array_equal(rows, encode(type(graph)()))


def test_encoding_stops_between_windows_and_views():
    asked = iter([False, True])
    with pytest.raises(Stopped):
        speech(lambda path: FakeSpeech()).encode(np.zeros((200, 80), np.float32), should_stop=lambda: next(asked))
    views = split_views(Image.fromarray(random_image("steps", 168, 112)), crop_size=56, patch_size=14, max_crops=36)
    asked, graph = iter([False, True]), FakeVision()
    with pytest.raises(Stopped):
        vision(lambda path: graph).encode(views, should_stop=lambda: next(asked))
    assert len(graph.calls) == 1
