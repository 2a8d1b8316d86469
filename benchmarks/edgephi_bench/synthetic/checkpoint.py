"""Checkpoints of the public models' exact names, shapes and files, with random weights.

They serve to measure: converting, loading and running cost the same whatever the weights' values are. A model of
random weights says nothing sensible. Weights are cut from one random block (see values.py), so writing needs little
memory and goes about as fast as the disk.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from edgephi.base.atomic_write import FolderKind, check_output, check_space, staged
from edgephi.base.errors import ConfigError
from edgephi.base.step import OnStep, Step
from edgephi.base.units import rate_and_time_left
from edgephi_bench.synthetic.configs import write_configs, write_json, write_peft_config
from edgephi_bench.synthetic.shards import shard_names, split, write_index, write_shard
from edgephi_bench.synthetic.sizes import LAYOUTS, Layout, Sizes
from edgephi_bench.synthetic.tensors import ADAPTERS, TensorSpec, adapter_tensors, model_tensors
from edgephi_bench.synthetic.values import ValueSource
from edgephi_bench.synthetic.vocabulary import special_id, write_tokenizer

#: Says how a folder was made; --force replaces only folders that have it.
_MARK_NAME = "synthetic.json"
_CHECKPOINT = FolderKind("a synthetic checkpoint", (_MARK_NAME,))
_SMALLER = "choose another disk, or make a smaller one with --layers"
#: Room for the tokenizer and the settings files.
_OVERHEAD_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticOptions:
    """The choices for a synthetic checkpoint besides its layout.

    Attributes:
        sizes: The public model's, unless smaller ones serve.
        seed: Another seed gives other weights.
        force: Replace an existing synthetic checkpoint, once the new one is complete.
    """

    sizes: Sizes = field(default_factory=Sizes)
    seed: int = 0
    force: bool = False


@dataclass(frozen=True, slots=True)
class _WeightFile:
    path: str
    tensors: tuple[TensorSpec, ...]


def write_synthetic(
    output: Path, layout: Layout, options: SyntheticOptions | None = None, on_step: OnStep | None = None
) -> int:
    """Write a checkpoint folder; it appears when it is complete.

    Args:
        output: The folder to make.
        layout: `phi3`, `phi4mm` or `phi4_multimodal`.
        options: Sizes, seed and whether to replace.
        on_step: Called with every part that was written, in bytes of weights.

    Returns:
        Bytes of weights.

    Raises:
        ConfigError: An unknown layout, or an output that cannot or must not be written.
        CapacityError: The disk has too little space.
        EdgeError: The operating system refused to write.
    """
    options = options or SyntheticOptions()
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    check_output(output, _CHECKPOINT, force=options.force)
    shards = split(model_tensors(layout, options.sizes), options.sizes.shard_bytes)
    files = [*_model_files(shards), *_adapter_files(layout, options.sizes)]
    total = sum(tensor.num_bytes for file in files for tensor in file.tensors)
    check_space(output, total + _OVERHEAD_BYTES, what="the checkpoint", relief=_SMALLER)
    with staged(output, _CHECKPOINT, force=options.force) as folder:
        _write_settings(folder, layout, options)
        write_index(folder, shards)
        _write_weights(folder, files, options.seed, on_step)
    return total


def _model_files(shards: tuple[tuple[TensorSpec, ...], ...]) -> list[_WeightFile]:
    return [_WeightFile(name, shard) for name, shard in zip(shard_names(len(shards)), shards, strict=True)]


def _adapter_files(layout: Layout, sizes: Sizes) -> list[_WeightFile]:
    if layout != "phi4_multimodal":
        return []
    return [
        _WeightFile(f"{name}-lora/adapter_model.safetensors", tuple(adapter_tensors(name, sizes))) for name in ADAPTERS
    ]


def _write_settings(folder: Path, layout: Layout, options: SyntheticOptions) -> None:
    sizes = options.sizes
    write_configs(folder, layout, sizes, partial(special_id, vocab=sizes.vocab))
    write_tokenizer(folder, sizes)
    if layout == "phi4_multimodal":
        adapters = (
            ("speech", sizes.speech_rank, sizes.speech_alpha),
            ("vision", sizes.vision_rank, sizes.vision_alpha),
        )
        for name, rank, alpha in adapters:
            (folder / f"{name}-lora").mkdir()
            write_peft_config(folder / f"{name}-lora", rank, alpha)
    write_json(folder / _MARK_NAME, {"layout": layout, "seed": options.seed, "sizes": asdict(sizes)})


def _facts(done: int, total: int, elapsed_s: float) -> str:
    """`1.20/7.67 GB, 140 MB/s, 46 s left`."""
    return f"{done / 1e9:.2f}/{total / 1e9:.2f} GB, {rate_and_time_left(done, total, elapsed_s)}"


def _write_weights(folder: Path, files: list[_WeightFile], seed: int, on_step: OnStep | None) -> None:
    values = ValueSource(seed)
    total = sum(tensor.num_bytes for file in files for tensor in file.tensors)
    done = 0
    for file in files:

        def advance(count: int, name: str = file.path) -> None:
            nonlocal done
            done += count
            if on_step:
                on_step(Step(label=f"writing {name}", done=done, total=total, facts=partial(_facts, done, total)))

        write_shard(folder / file.path, file.tensors, values, advance)
