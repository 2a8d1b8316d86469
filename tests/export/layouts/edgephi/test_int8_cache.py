"""An int8 cache must compute what numpy computes with its scales, and the scales must fit what the model will read."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgephi import ArtifactError, CapacityError, ConfigError, EdgeError
from edgephi.bundle.block_hashes import BLOCKS_NAME
from edgephi.bundle.bundle import Bundle
from edgephi.bundle.tensor_index import TENSORS_NAME
from edgephi.cache.kv_cache import CacheShape, KVCache
from edgephi.ort.session import DeviceOptions, open_session
from edgephi_export import ExportOptions, Progress, export
from edgephi_export.calibration.requests import calibration_requests
from edgephi_export.calibration.samples import CalibrationFiles, read_own_files
from edgephi_export.checkpoint.checkpoint import open_checkpoint
from edgephi_export.checkpoint.selection import choose
from edgephi_export.fidelity.weights import compare_with_checkpoint
from edgephi_export.graphs.decoder import INT32, DecoderBuilder, DecoderParts, Positions
from edgephi_export.layouts.edgephi.int8_cache import add_cache
from edgephi_export.weights.kv_scales import layer_scales, place_scales, write_scales
from edgephi_export.weights.plan import WeightPlan
from edgephi_quantize.cache_ranges import CacheRanges
from edgephi_quantize.recipe import make_recipe
from support.bundles import copy_bundle, small_bundle, small_checkpoint
from support.forked import run_forked
from support.media_files import write_image, write_recording

INT8 = ExportOptions(kv_cache="int8")


def _export(out: Path, **options: Any) -> Path:
    return export(small_checkpoint("phi3").path, out, ExportOptions(kv_cache="int8", **options))


class Attention:
    """The attention of the small checkpoint's second layer, with random scales, and numpy's answer to it."""

    def __init__(self, folder: Path) -> None:
        selection = choose("none", None, ("text",))
        opened = open_checkpoint(small_checkpoint("phi3").path, selection)
        self.config, self.half = opened.config.decoder, opened.config.rope.rotary_dim // 2
        places = place_scales(self.config)
        random = np.random.default_rng(3)
        self.scales = [random.uniform(0.01, 0.05, place.shape).astype(np.float32) for place in places]
        (folder / "weights").mkdir()
        write_scales(folder, places, self.scales)
        builder = DecoderBuilder(
            DecoderParts(
                config=opened.config,
                source=opened.weights,
                plan=WeightPlan(make_recipe("fp32")),
                mode="none",
                cache_scales=places,
            )
        )
        graph, tables = builder.graph, ["M", self.half]
        heads, kv_heads, size = self.config.num_heads, self.config.num_kv_heads, self.config.head_size
        self.width = (heads + 2 * kv_heads) * size
        positions = Positions(
            seqlens_k=graph.input("seqlens_k", INT32, ["B"]),
            total_sequence_length=graph.input("total", INT32, []),
            cos_cache=graph.input("cos", builder.dtype, tables),
            sin_cache=graph.input("sin", builder.dtype, tables),
        )
        attended, present = builder._attention(1, graph.input("qkv", builder.dtype, ["B", "S", self.width]), positions)
        graph.output(attended, "attended", builder.dtype, ["B", "S", heads * size])
        for name, value in zip(("key", "value"), present, strict=True):
            graph.output(value, name, builder.cache_dtype, ["B", kv_heads, "C", size])
        graph.save(folder / "attention.onnx")
        self.session = open_session(folder / "attention.onnx", DeviceOptions(threads=1))
        angles = np.arange(256)[:, None] * 10_000.0 ** -(np.arange(self.half) / self.half)[None]
        self.cos, self.sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def graph(self, qkv: np.ndarray) -> list[np.ndarray]:
        """float32 [S, heads * D], and both caches as int8 [H_kv, S, D]."""
        count = len(qkv)
        empty = np.zeros((1, self.config.num_kv_heads, count, self.config.head_size), np.int8)
        fed = {"qkv": qkv[None], "cos": self.cos, "sin": self.sin, "seqlens_k": np.array([count - 1], np.int32)}
        fed |= {"total": np.array(count, np.int32)}
        fed |= {f"past_key_values.1.{kind}": empty for kind in ("key", "value")}
        return [array[0] for array in self.session.run(["attended", "key", "value"], fed)]

    def numpy(self, qkv: np.ndarray) -> list[np.ndarray]:
        """The same, in float64 and from the definition."""
        config, count = self.config, len(qkv)
        split = qkv.astype(np.float64).reshape(count, -1, config.head_size).transpose(1, 0, 2)
        heads, kv_heads = config.num_heads, config.num_kv_heads
        queries, keys, values = split[:heads], split[heads : heads + kv_heads], split[heads + kv_heads :]
        scales = [scale[1][:, None] for scale in self.scales]
        codes = [
            np.clip(np.rint(array / scale), -128, 127)
            for array, scale in zip((self._rotated(keys), values), scales, strict=True)
        ]
        keys, values = (
            np.repeat(code * scale, heads // kv_heads, 0) for code, scale in zip(codes, scales, strict=True)
        )
        scores = self._rotated(queries) @ keys.transpose(0, 2, 1) / np.sqrt(config.head_size)
        scores[:, ~np.tri(count, dtype=bool)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        attended = weights / weights.sum(-1, keepdims=True) @ values
        return [attended.transpose(1, 0, 2).reshape(count, -1), *codes]

    def _rotated(self, heads: np.ndarray) -> np.ndarray:
        half, count = self.half, heads.shape[1]
        cos, sin = self.cos[:count], self.sin[:count]
        one, two, rest = heads[..., :half], heads[..., half : 2 * half], heads[..., 2 * half :]
        return np.concatenate([one * cos - two * sin, two * cos + one * sin, rest], axis=-1)


def test_attention_over_codes_is_what_numpy_computes(tmp_path: Path):
    attention = Attention(tmp_path)
    qkv = np.random.default_rng(4).standard_normal((150, attention.width)).astype(np.float32)
    (attended, *codes), (expected, *expected_codes) = attention.graph(qkv), attention.numpy(qkv)
    np.testing.assert_allclose(attended, expected, atol=2e-6)
    for found, wanted in zip(codes, expected_codes, strict=True):
        assert (found != wanted).mean() < 1e-4  # halves that float32 and float64 round apart
        assert np.abs(found).max() > 126


def _cache(keys: np.ndarray, values: np.ndarray) -> KVCache:
    shape = CacheShape(
        num_layers=1, num_kv_heads=1, head_size=keys.shape[1], max_positions=512, model_positions=512, dtype="float32"
    )
    cache = KVCache(shape, capacity=len(keys))
    cache.buffers["past_key_values.0.key"][0, 0, : len(keys)] = keys
    cache.buffers["past_key_values.0.value"][0, 0, : len(keys)] = values
    cache.buffers["past_key_values.0.value"][0, 0, len(keys) :] = 1e9  # is not filled, must not count
    cache.used = len(keys)
    return cache


def _ranges(*caches: KVCache) -> tuple[np.ndarray, np.ndarray]:
    """What codes can hold, per channel."""
    ranges = CacheRanges(num_layers=1, num_heads=1, head_size=8, rotary_dim=6)
    for cache in caches:
        add_cache(ranges, cache)
    keys, values = (127 * scales[0, 0] for scales in ranges.scales())
    return keys, values


def test_a_rotary_pair_gets_room_for_every_position():
    """Calibrated where the pair points one way, at another position all of its length is in the other channel."""
    random = np.random.default_rng(0)
    plain = random.standard_normal((40, 8))
    keys, _ = _ranges(_cache(plain, plain))
    for angle in np.linspace(0, 2 * np.pi, 50):
        cos, sin = np.cos(angle), np.sin(angle)
        turned = plain.copy()
        turned[:, :3], turned[:, 3:6] = (
            cos * plain[:, :3] - sin * plain[:, 3:6],
            cos * plain[:, 3:6] + sin * plain[:, :3],
        )
        assert (np.abs(turned).max(0) <= keys).all()
    assert keys[6:] == pytest.approx(1.3 * np.abs(plain[:, 6:]).max(0))  # what is not rotated is not given more
    lengths = np.hypot(plain[:, :3], plain[:, 3:6]).max(0)
    assert keys[:6] == pytest.approx(1.3 * np.tile(lengths, 2))


def test_every_value_that_was_seen_fits_and_still_channels_have_a_scale():
    random = np.random.default_rng(1)
    one, two = random.standard_normal((2, 30, 8)) * 3
    one[:, 5] = two[:, 5] = 0
    _, values = _ranges(_cache(one, one), _cache(two, two))
    seen = np.abs(np.concatenate([one, two])).max(0)
    assert (values >= seen).all()
    assert values[np.arange(8) != 5] == pytest.approx(1.3 * seen[np.arange(8) != 5])
    assert 0 < values[5] < values.max() / 20
    for largest in _ranges(_cache(np.zeros((3, 8)), np.zeros((3, 8)))):
        assert (largest > 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_that_gives_no_numbers_is_not_calibrated(bad: float):
    values = np.zeros((3, 8))
    values[1, 2] = bad
    with pytest.raises(ArtifactError, match="layer 0 gives keys or values that are not finite"):
        _ranges(_cache(np.zeros((3, 8)), values))


def test_layers_and_the_two_kinds_do_not_share_a_byte():
    class Config:
        num_layers, num_kv_heads, head_size = 5, 3, 64

    refs = [layer_scales(place, layer) for place in place_scales(Config()) for layer in range(5)]  # type: ignore[arg-type]
    spans = sorted((ref.offset, ref.offset + ref.num_bytes) for ref in refs)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert {ref.shape for ref in refs} == {(1, 3, 1, 64)}


@pytest.mark.parametrize("adapters", [None, "speech", "vision", "none"])
def test_calibration_reads_every_adapter_and_every_kind_of_media(adapters: str | None):
    manifest = Bundle(small_bundle(adapters=adapters)).manifest
    own = CalibrationFiles(texts=("our own words",))
    requests = calibration_requests(manifest, own)
    kinds = {(bool(request.images), bool(request.audio), request.adapter) for request in requests}
    text = {(False, False, name) for name in ("none", "vision", "speech")}
    media = {(True, False, "auto"), (False, True, "auto"), (True, True, "auto")}
    expected = {
        None: text | media,
        "speech": {(False, True, "auto")},
        "vision": {(True, False, "auto"), (True, True, "auto")},
        "none": {(False, False, "auto")},
    }
    assert kinds == expected[adapters]
    asked = sum(request.messages[-1]["content"] == "our own words" for request in requests)
    assert asked == (3 if adapters is None else 1)


def test_own_files_are_sorted_by_content(tmp_path: Path):
    text = tmp_path / "talk.wav"  # names say nothing
    text.write_text("Grüße. " * 1000, encoding="utf-8")
    image, recording = write_image(tmp_path / "a.png"), write_recording(tmp_path / "b.wav")
    own = read_own_files([text, image, str(recording)])
    assert (own.images, own.recordings) == ((image,), (recording,))
    assert "".join(own.texts) == "Grüße. " * 1000
    assert max(map(len, own.texts)) <= 4000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b" \n\t", "holds nothing but white space"),
        (b"\x00\x01\x02\xff" * 20, "neither UTF-8 text, nor .*: .*, nor .*: "),
        ("ä".encode() * 40_000, "more than 65,536 bytes of text; give a part of it"),
        (b"a" + "ä".encode() * 40_000, "more than 65,536 bytes of text; give a part of it"),
        (b"\xff\xfe" * 600_000, "neither UTF-8 text"),
    ],
)
def test_own_files_that_cannot_be_used_are_refused_before_an_export_begins(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "own"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        _export(tmp_path / "out", calibration=(path,))
    assert list(tmp_path.iterdir()) == [path]


def test_own_media_that_would_fail_at_the_end_are_refused_before_an_export_begins(tmp_path: Path):
    """By then hours may have gone into the weights."""
    strip, song = write_image(tmp_path / "a.png", 4000, 3), write_recording(tmp_path / "b.wav", 61.0, 8000)
    for path, words in ((strip, "cut it into less extreme pieces"), (song, "over 60 seconds of audio")):
        with pytest.raises(ConfigError, match=rf"--calibration {path}: .*{words}"):
            export(small_checkpoint().path, tmp_path / "out", ExportOptions(kv_cache="int8", calibration=(path,)))
    assert not (tmp_path / "out").exists()


def test_own_texts_may_hold_what_stands_for_media(tmp_path: Path):
    """Collected prompts do."""
    text = tmp_path / "prompts.txt"
    text.write_text("<|image_1|>What is shown? <|audio_2|>And said?", encoding="utf-8")
    assert read_own_files([text]).texts == ("What is shown? And said?",)


def test_own_media_need_their_encoder(tmp_path: Path):
    for path, kind in ((write_image(tmp_path / "a.png"), "an image"), (write_recording(tmp_path / "b.wav"), "audio")):
        with pytest.raises(ConfigError, match=rf"--calibration .*: {kind}, but this model folder has no"):
            _export(tmp_path / "out", calibration=(path,))
    assert not (tmp_path / "out").exists()


def test_own_files_move_the_scales(tmp_path: Path):
    text = tmp_path / "own.txt"
    text.write_text("0123456789 XYZ {}[]<> QqQq" * 20, encoding="utf-8")
    plain, own = _scales(_export(tmp_path / "plain")), _scales(_export(tmp_path / "own", calibration=(text,)))
    assert (own >= plain).all()
    assert (own > plain).any()


def _scales(folder: Path) -> np.ndarray:
    bundle = Bundle(folder, check_hashes=True)
    info = bundle.manifest.decoder.int8_cache
    assert info is not None
    return np.stack([bundle.tensor(info.key_scales), bundle.tensor(info.value_scales)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "genai", "kv_cache": "int8"}, "--kv-cache int8 is for edgephi's own layout"),
        ({"recipe": "fp16", "kv_cache": "int8"}, "recipe fp16 computes with float16, for GPUs; --kv-cache int8 is for"),
        ({"recipe": "int4-gpu", "kv_cache": "int8"}, "use int4, int4-fast, int8 or fp32"),
        ({"calibration": ("notes.txt",)}, "--calibration is for --kv-cache int8; give both, or leave it out"),
        ({"kv_cache": "int4"}, "kv_cache is 'int4'; use 'float' or 'int8'"),
        ({"kv_cache": "int8", "calibration": ("nothing/here.txt",)}, "nothing/here.txt: no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path: Path, options: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=words):
        export("no/such/checkpoint", tmp_path / "out", ExportOptions(**options))
    assert not list(tmp_path.iterdir())


def test_without_onnx_runtime_no_work_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing() -> None:
        raise EdgeError('ONNX Runtime is not installed; run: pip install "edgephi[cpu]"')

    monkeypatch.setattr("edgephi_export.exporter.runtime", missing)
    with pytest.raises(EdgeError, match="pip install"):
        export("no/such/checkpoint", tmp_path / "out", INT8)
    export(small_checkpoint("phi3").path, tmp_path / "float")  # which does not need it


@pytest.mark.parametrize("error", [KeyboardInterrupt, CapacityError, MemoryError])
def test_a_calibration_that_ends_early_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
):
    seen: list[Progress] = []

    def on_progress(step: Progress) -> None:
        seen.append(step)
        if step.prompts == 3:
            if error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            raise error("enough")

    with pytest.raises(error):
        export(small_checkpoint("phi3").path, tmp_path / "out", INT8, on_progress)
    assert seen[-1].stage == "key and value scales"
    assert not list(tmp_path.iterdir())


def test_weights_and_float_graphs_are_those_of_an_export_without(tmp_path: Path):
    plain = {file.path: file for file in Bundle(small_bundle(recipe="int4")).manifest.files}
    both = {file.path: file for file in Bundle(small_bundle(recipe="int4", kv_cache="int8")).manifest.files}
    added = {"decoder_kv8.onnx", "decoder_text_kv8.onnx", "weights/cache_scales.bin"}
    assert both.keys() - plain.keys() == added
    assert {path: both[path] for path in plain if path not in (BLOCKS_NAME, TENSORS_NAME)} == {
        path: info
        for path, info in plain.items()
        if path not in (BLOCKS_NAME, TENSORS_NAME)  # which list the scales as well
    }
    assert sum(both[path].bytes for path in added) < 1_000_000


def test_the_same_export_gives_the_same_scales(tmp_path: Path):
    one, two = (_scales(_export(tmp_path / name, threads=threads)) for name, threads in (("1", 1), ("2", 1)))
    assert (one == two).all()


def test_a_reference_is_compared_with_the_int8_cache_too(tmp_path: Path):
    folder = copy_bundle(small_bundle(kv_cache="int8"), tmp_path / "m")
    checkpoint = str(small_checkpoint().path)
    report = compare_with_checkpoint(folder, checkpoint, lambda done, total: None)
    assert all(tensor.ok for tensor in report.tensors)
    info = Bundle(folder).manifest.decoder.int8_cache
    assert info is not None
    for bad in (0.0, -1.0, np.nan, np.inf):
        with (folder / info.value_scales.file).open("r+b") as stream:
            stream.seek(info.value_scales.offset + 8)
            stream.write(np.float32(bad).tobytes())
        with pytest.raises(ArtifactError, match=r"cache_scales\.bin: holds a scale that is no positive number"):
            compare_with_checkpoint(folder, checkpoint, lambda done, total: None)


def test_calibration_images_show_something(tmp_path: Path):
    """An empty image would calibrate the encoder's rows to next to nothing."""
    requests = calibration_requests(Bundle(small_bundle()).manifest, CalibrationFiles())
    images = [image for request in requests for image in request.images]
    recordings = [samples for request in requests for samples, _ in request.audio]
    assert all(isinstance(image, Image.Image) and np.asarray(image).std() > 40 for image in images)
    assert all(0.02 < samples.std() < 0.5 and np.abs(samples).max() <= 1 for samples in recordings)


def test_an_export_without_calibration_loads_no_code_that_runs_models():
    script = (
        "import sys, edgephi_export.exporter; print('edgephi.model' in sys.modules, 'edgephi.audio' in sys.modules)"
    )
    assert run_forked(script, [], {}).stdout.split() == ["False", "False"]
