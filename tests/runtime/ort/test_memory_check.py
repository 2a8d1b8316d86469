"""A model that does not fit must be refused in words before it is mapped, and one that fits must never be."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgephi import Model, SamplingOptions
from edgephi.base.errors import CapacityError
from edgephi.base.free_memory import Headroom, headroom
from edgephi.base.hardware import Memory, swap_bytes
from edgephi.bundle.block_hashes import BLOCKS_NAME
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle
from edgephi.ort.memory_check import check_graph_fits
from edgephi.ort.packed_sizes import packed_bytes
from support.bundles import copy_bundle, described, small_bundle
from support.shell import invoke
from support.signals import random_audio, random_image

MIB = 1 << 20
FEW = SamplingOptions(max_new_tokens=2, temperature=0.0)
Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Pretends that the machine has so many bytes left, and that small models are worth asking for."""

    def set_room(available: int, *, total: int = 2**40, limit: int | None = None, addresses: int | None = None) -> None:
        memory = Memory(total_bytes=total, available_bytes=available, limit_bytes=limit)
        room = Headroom(memory=memory, swap_bytes=0, address_bytes=addresses)
        for place in ("ort.memory_check", "cache.kv_cache"):
            monkeypatch.setattr(f"edgephi.{place}.headroom", lambda: room)
            monkeypatch.setattr(f"edgephi.{place}._SMALL_BYTES", 0)

    return set_room


def _size(folder: Path, *names: str) -> int:
    return sum((folder / f"weights/{name}.bin").stat().st_size for name in names)


def test_what_fits_exactly_is_loaded_and_a_byte_less_is_refused(offer: Offer):
    folder = small_bundle(recipe="fp32")
    bundle = Bundle(folder)
    work = 22 * 4 * 256 * bundle.manifest.decoder.hidden_size
    needed = int(0.95 * _size(folder, "decoder")) + work
    offer(needed)
    check_graph_fits(bundle, "decoder_text.onnx", chunk=256)
    offer(needed - 1)
    with pytest.raises(
        CapacityError, match=r"_text\.onnx: takes at least [\d.]+ [kM]B of memory but [\d.]+ [kM]?B are available"
    ):
        check_graph_fits(bundle, "decoder_text.onnx", chunk=256)
    check_graph_fits(bundle, "decoder_text.onnx", chunk=256, ignore=True)


@pytest.mark.parametrize("recipe", ["int4", "int8"])
def test_quantized_weights_are_counted_as_they_are_packed(offer: Offer, monkeypatch: pytest.MonkeyPatch, recipe: str):
    """The system ended a process whose file would have fitted: each block is packed with a scale and a sum."""
    bundle = Bundle(small_bundle(recipe=recipe))
    tensors = [tensor for tensor in bundle.tensor_index().tensors if tensor.part == "decoder"]
    quantized = [tensor for tensor in tensors if tensor.format.startswith("int")]
    assert quantized
    others = sum(tensor.num_bytes for tensor in tensors) - sum(tensor.num_bytes for tensor in quantized)
    needed = int(sum(map(packed_bytes, quantized)) + 0.95 * others)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    offer(needed)
    check_graph_fits(bundle, "decoder_text.onnx")
    offer(needed - 2)
    with pytest.raises(CapacityError, match="takes at least"):
        check_graph_fits(bundle, "decoder_text.onnx")
    monkeypatch.setattr("platform.machine", lambda: "another")  # where it was never measured, nothing is refused
    check_graph_fits(bundle, "decoder_text.onnx")


def test_a_folder_that_was_replaced_is_counted_twice(offer: Offer, tmp_path: Path):
    """Its weights have no name any more, so they are copied while they are loaded."""
    folder = copy_bundle(small_bundle(recipe="fp32"), tmp_path / "m")
    bundle, weights = Bundle(folder), int(0.95 * _size(folder, "decoder"))
    folder.rename(tmp_path / "old")
    copy_bundle(small_bundle(recipe="fp32"), folder)
    offer(2 * weights)
    check_graph_fits(bundle, "decoder_text.onnx")
    offer(2 * weights - 1)
    with pytest.raises(CapacityError, match="takes at least"):
        check_graph_fits(bundle, "decoder_text.onnx")
    check_graph_fits(Bundle(folder), "decoder_text.onnx")


def test_the_vocabulary_is_counted_while_it_is_not_read(offer: Offer):
    folder = small_bundle(recipe="fp32")
    bundle, weights = Bundle(folder), int(0.95 * _size(folder, "decoder"))
    offer(weights + 10 * (folder / "tokenizer.json").stat().st_size)
    check_graph_fits(bundle, "decoder_text.onnx", with_vocabulary=True)
    offer(weights + 10 * (folder / "tokenizer.json").stat().st_size - 1)
    check_graph_fits(bundle, "decoder_text.onnx")
    with pytest.raises(CapacityError, match="takes at least"):
        check_graph_fits(bundle, "decoder_text.onnx", with_vocabulary=True)


@pytest.mark.parametrize(
    "command",
    [["run", "MODEL", "hello"], ["chat", "MODEL"], ["transcribe", "MODEL", "RECORDING"], ["demo", "MODEL"]],
    ids=lambda command: command[0],
)
def test_every_command_says_what_is_short_before_it_loads(offer: Offer, command: list[str], tmp_path: Path):
    from support.media_files import write_recording  # noqa: PLC0415

    places = {"MODEL": str(small_bundle(recipe="int4")), "RECORDING": str(write_recording(tmp_path / "a.wav"))}
    words = [places.get(word, word) for word in command]
    samples = ["--samples", str(Path(__file__).parents[3] / "nano/samples")] if command[0] == "demo" else []
    offer(1000, limit=2000)
    done = invoke(*words, *samples, stdin="hello\n")
    assert done.exit_code == 4, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert ".onnx: takes at least" in line
    assert "within this control group's limit of 2.00 kB; use a machine with more memory" in line
    assert "--ignore-memory" in line


def test_the_way_out_is_taken_at_the_users_word(offer: Offer, monkeypatch: pytest.MonkeyPatch):
    offer(1000)
    folder = small_bundle(recipe="int4")
    arguments = ["run", folder, "hello", "--max-new-tokens", "2"]
    assert invoke(*arguments).exit_code == 4
    assert invoke(*arguments, "--ignore-memory").exit_code == 0
    for value, code in (("1", 0), ("yes", 0), ("0", 4), ("", 4)):
        monkeypatch.setenv("EDGEPHI_IGNORE_MEMORY", value)
        assert invoke(*arguments).exit_code == code, value


def test_parts_that_come_late_are_asked_for_when_they_come(offer: Offer):
    """Text goes on being answered where images and audio do not fit."""
    folder = small_bundle(recipe="int4")
    offer(2**40)
    with Model.load(folder, threads=1, chunk=16) as model:
        expected = model.generate("hello", options=FEW).token_ids
        packed = sum(packed_bytes(t) for t in model._bundle.tensor_index().tensors if t.part == "decoder")
        offer(packed + 22 * 4 * 16 * model.manifest.decoder.hidden_size)
        with pytest.raises(CapacityError, match=r"/decoder\.onnx: .* ask for text alone, which takes") as caught:
            model.generate("hello", audio=[(random_audio("fit", 0.5, 16000), 16000)], options=FEW)
        assert "--adapters speech" in str(caught.value)
        assert model.generate("hello", options=FEW).token_ids == expected
        offer(_size(folder, "vision") // 2)
        with pytest.raises(CapacityError, match=r"/vision\.onnx: takes at least"):
            model.logits([30, model.manifest.tokens.image or 0], images=[random_image("fit", 60, 60)], adapter="none")


def test_what_would_help_is_computed(offer: Offer):
    folder = small_bundle(recipe="fp32")
    bundle = Bundle(folder)
    weights, unit = int(0.95 * _size(folder, "decoder")), 22 * 4 * bundle.manifest.decoder.hidden_size
    offer(weights + 70 * unit)
    with pytest.raises(CapacityError, match=r"; use --chunk 64, or close other programs \("):
        check_graph_fits(bundle, "decoder_text.onnx", chunk=256)
    offer(weights // 2, total=weights // 2)
    with pytest.raises(CapacityError, match=r"; export with --recipe int4-fast, about [\d.]+ [kM]B \(") as caught:
        check_graph_fits(bundle, "decoder_text.onnx", chunk=16)
    assert "--chunk" not in str(caught.value)
    offer(10, total=10)
    with pytest.raises(CapacityError, match=r"; use a machine with more memory \("):
        check_graph_fits(bundle, "decoder_text.onnx", chunk=16)


def test_a_prompt_that_outgrows_memory_is_refused_with_what_would_fit(offer: Offer):
    folder = small_bundle(recipe="int4", kv_cache="int8")
    with Model.load(folder, threads=1, kv_cache="float") as model, Model.load(folder, threads=1) as smaller:
        position = 1024
        offer(600 * position)
        with pytest.raises(
            CapacityError,
            match=r"by \d+ tokens or more, or use a folder exported with --kv-cache int8",
        ) as caught:
            model.logits([5] * 1000)
        assert "--cache-bytes" in str(caught.value)
        smaller.logits([5] * 1000)
    with Model.load(folder, threads=1, ignore_memory=True) as model:
        model.logits([5] * 1000)


def _files(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


MEMINFO = f"MemTotal: {8192 * 1024} kB\nMemAvailable: {6000 * 1024} kB\nSwapFree: {1000 * 1024} kB"


@pytest.mark.parametrize(
    ("files", "swap"),
    [
        ({}, 1000),
        ({"proc/self/cgroup": "0::/"}, 1000),
        ({"proc/self/cgroup": "0::/box", "sys/fs/cgroup/box/memory.swap.max": "max"}, 1000),
        ({"proc/self/cgroup": "0::/box", "sys/fs/cgroup/box/memory.swap.max": 0}, 0),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/memory.swap.max": 300 * MIB,
                "sys/fs/cgroup/a/memory.swap.current": 100 * MIB,
                "sys/fs/cgroup/a/b/memory.swap.max": "max",
            },
            200,
        ),
        (
            {
                "proc/self/cgroup": "3:memory:/box",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": 7000 * MIB,
                "sys/fs/cgroup/memory/box/memory.memsw.limit_in_bytes": 7100 * MIB,
            },
            100,
        ),
    ],
)
def test_swap_counts_as_far_as_the_group_may_use_it(tmp_path: Path, files: dict[str, object], swap: int):
    root = _files(tmp_path, {"proc/meminfo": MEMINFO, **files})
    assert swap_bytes(root=root) == swap * MIB
    assert headroom(root=root).free_bytes == (6000 + swap) * MIB


def test_pages_of_files_that_were_read_do_not_count_as_used(tmp_path: Path):
    """A folder that was just copied or hashed fills its group with pages that are given back: no reason to refuse."""
    box = "sys/fs/cgroup/box"
    stat = f"anon 7\ninactive_file {700 * MIB}\nactive_file {900 * MIB}\nfile_mapped {500 * MIB}"
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/box", f"{box}/memory.swap.max": 0}
    files |= {f"{box}/memory.max": 2000 * MIB, f"{box}/memory.current": 1900 * MIB, f"{box}/memory.stat": stat}
    assert headroom(root=_files(tmp_path, files)).free_bytes == 1700 * MIB


_LIMITED = """
import json, re, resource, sys
from edgephi import Model
from edgephi.ort.session import runtime
from edgephi.base.errors import CapacityError
runtime()
import edgephi.ort.memory_check
edgephi.ort.memory_check._SMALL_BYTES = 0
size = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    Model.load(sys.argv[1], threads=1).close()
    print("loaded")
except CapacityError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads what Linux reports")
def test_a_limit_of_addresses_is_named_and_one_that_suffices_is_not(tmp_path: Path):
    """For real: `ulimit -v` once ended in words about a library that was not installed, or a damaged file."""
    folder = copy_bundle(small_bundle(recipe="int4"), tmp_path / "m")
    path = folder / "weights/decoder.bin"
    with path.open("r+b") as stream:
        stream.truncate(600 * MIB)  # a hole, as large as a real one
    manifest = described(folder)
    for file in manifest["files"]:
        file["bytes"] = 600 * MIB if file["path"] == "weights/decoder.bin" else file["bytes"]
    manifest["files"] = [file for file in manifest["files"] if file["path"] != BLOCKS_NAME]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = []
    for spare in (500 * MIB, 4000 * MIB):
        command = [sys.executable, "-c", _LIMITED, str(folder), str(spare)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "of memory but this process's limit (ulimit -v) leaves" in said[0]
    assert said[1] == "loaded\n"


def test_without_a_limit_of_addresses_none_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert headroom().address_bytes is None
