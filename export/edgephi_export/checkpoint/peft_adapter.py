"""Reads a PEFT adapter that is to be merged into its base: its rules, and which rows of which matrix it changes.

Scale and the matching of `rank_pattern` and `alpha_pattern` are PEFT 0.19's (`LoraLayer.update_layer`,
`get_pattern_key`). What is not certain to mean the same here is refused: PEFT itself can always merge it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import file_sha256
from edgephi.bundle.manifest import MergedAdapterInfo
from edgephi_export.checkpoint.config import CheckpointLayout, DecoderConfig
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.lora_merge import LoraBlock
from edgephi_export.checkpoint.safetensors_file import StoredTensor, read_header
from edgephi_export.checkpoint.tensor_names import canonical_name

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ADVICE = "merge it with PEFT's merge_and_unload(), save_pretrained() the result, and export that"
#: Settings that say nothing of the merged matrices, or that `Adapter` reads itself.
_KNOWN = frozenset(
    (
        "peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision",
        "inference_mode", "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "rank_pattern",
        "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out", "bias", "init_lora_weights", "layers_to_transform",
        "layers_pattern", "megatron_config", "megatron_core", "eva_config", "qalora_group_size", "runtime_config",
        "ensure_weight_tying",
    )
)  # fmt: skip
#: Starts that leave the base as it is; others (PiSSA, OLoRA, LoftQ, ...) change it, and the file does not say how.
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+?)(?:\.base_layer)?"
    r"\.(?P<part>lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?"
)
_PACKED = re.compile(r"(.+)\.(?:self_attn\.([qkv])|mlp\.(gate|up))_proj")
#: Nothing of these parts is exported unless it is asked for; an adapter's share of them is then left out too.
_TOWERS = ("vision.", "speech.")
Blocks = dict[str, tuple[LoraBlock, ...]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's folder and what its adapter_config.json says."""

    folder: Path
    id: str
    fields: Fields

    @classmethod
    def load(cls, folder: Path, adapter_id: str) -> Adapter:
        """Read the configuration.

        Args:
            folder: Holds adapter_config.json and adapter_model.safetensors.
            adapter_id: What to call it in the model folder.

        Raises:
            ArtifactError: A file is missing or damaged, or a setting is not supported.
        """
        if not (folder / ADAPTER_CONFIG).is_file():
            raise ArtifactError(
                f"{folder}: no {ADAPTER_CONFIG}, so there is no adapter to merge; give a folder that PEFT wrote"
            )
        if not (folder / ADAPTER_WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
            raise ArtifactError(
                f"{folder / 'adapter_model.bin'}: a pickled adapter, which can run code; load it with PEFT and call "
                "save_pretrained(), which writes safetensors"
            )
        adapter = cls(folder, adapter_id, Fields.load(folder / ADAPTER_CONFIG))
        adapter._check()
        return adapter

    @property
    def info(self) -> MergedAdapterInfo:
        """Its entry in the manifest of a model folder."""
        return MergedAdapterInfo(id=self.id, sha256=file_sha256(self.folder / ADAPTER_WEIGHTS))

    def blocks(self, layout: CheckpointLayout, decoder: DecoderConfig, shapes: dict[str, tuple[int, ...]]) -> Blocks:
        """The changes of each matrix.

        Args:
            layout: Of the base.
            decoder: Sizes of the packed matrices.
            shapes: Of every tensor that is exported, by canonical name.

        Returns:
            By canonical name of the matrix.

        Raises:
            ArtifactError: A tensor is missing, belongs to nothing in this model, or has another shape.
        """
        found: dict[str, list[LoraBlock]] = defaultdict(list)
        for module, parts in self._modules().items():
            name, first, rows = self._place(layout, decoder, module)
            if name in shapes:
                block = self._block(module, parts, first)
                self._check_shape(module, block, (rows or shapes[name][0], *shapes[name][1:]))
                found[name].append(block)
            elif not name.startswith(_TOWERS):
                raise ArtifactError(f"{self.folder}: {module} is no matrix of this model; the adapter is for another")
        return {name: tuple(blocks) for name, blocks in found.items()}

    def _check(self) -> None:
        fields = self.fields
        try:
            fields.require("peft_type", "LORA", None)
            fields.require("bias", "none", "none")
            for key in ("rank_pattern", "alpha_pattern"):
                fields.section(key, {})
            for key in sorted(fields.values.keys() - _KNOWN):
                if fields.values[key] not in (None, False, [], {}):
                    raise ArtifactError(f"{fields.where}: {key} is set, which is not supported")
            if (start := fields.values.get("init_lora_weights")) not in _STARTS:
                raise ArtifactError(f"{fields.where}: init_lora_weights is {start!r}, which may have changed the base")
        except ArtifactError as error:
            raise ArtifactError(f"{error}; {_ADVICE}") from error

    def _modules(self) -> dict[str, dict[str, StoredTensor]]:
        """The tensors of each module, by their part: lora_A, lora_B and perhaps lora_magnitude_vector."""
        path = self.folder / ADAPTER_WEIGHTS
        modules: dict[str, dict[str, StoredTensor]] = defaultdict(dict)
        for name, tensor in read_header(path).items():
            if (key := _KEY.fullmatch(name)) is None:
                raise ArtifactError(f"{path}: {name} is no part of a LoRA of a linear layer; {_ADVICE}")
            if (other := modules[key["module"]].setdefault(key["part"], tensor)) is not tensor:
                raise ArtifactError(f"{path}: {name} and {other.name} are the same part of one LoRA")
            tensor.check_dtype()
        if not modules:
            raise ArtifactError(f"{path}: holds no tensors, so there is nothing to merge")
        return modules

    def _place(self, layout: CheckpointLayout, decoder: DecoderConfig, module: str) -> tuple[str, int, int | None]:
        """Canonical name of a module's matrix, and its first row and number of rows where it is a part of it."""
        if name := _canonical_matrix(layout, module):
            return name, 0, None
        if found := _PACKED.fullmatch(module):
            parent, attention, mlp = found.groups()
            queries, keys = decoder.num_heads * decoder.head_size, decoder.num_kv_heads * decoder.head_size
            packed, inner = (
                f"{parent}.{'self_attn.qkv' if attention else 'mlp.gate_up'}_proj",
                decoder.intermediate_size,
            )
            first, rows = {
                "q": (0, queries), "k": (queries, keys), "v": (queries + keys, keys), "gate": (0, inner),
                "up": (inner, inner),
            }[attention or mlp]  # fmt: skip
            if name := _canonical_matrix(layout, packed):
                return name, first, rows
        raise ArtifactError(
            f"{self.folder / ADAPTER_WEIGHTS}: changes {module}, which is no linear layer of {layout} models; {_ADVICE}"
        )

    def _block(self, module: str, parts: dict[str, StoredTensor], first_row: int) -> LoraBlock:
        fields = self.fields
        uses_dora = fields.get("use_dora", bool, False)
        for part, needed in {"lora_A": True, "lora_B": True, "lora_magnitude_vector": uses_dora}.items():
            if (part in parts) != needed:
                what = f"{part} is missing" if needed else f"has {part}, though use_dora is not set"
                raise ArtifactError(f"{self.folder / ADAPTER_WEIGHTS}: {module}: {what}")
        rank = self._pattern("rank_pattern", module).positive("r")
        alpha = self._pattern("alpha_pattern", module).get("lora_alpha", float)
        if parts["lora_A"].shape[:1] != (rank,):
            raise ArtifactError(
                f"{parts['lora_A'].file}: {parts['lora_A'].name} has shape {list(parts['lora_A'].shape)}; "
                f"{ADAPTER_CONFIG} gives it rank {rank}"
            )
        return LoraBlock(
            first_row=first_row,
            a=parts["lora_A"],
            b=parts["lora_B"],
            scale=alpha / (math.sqrt(rank) if fields.get("use_rslora", bool, False) else rank),
            magnitude=parts.get("lora_magnitude_vector"),
        )

    def _pattern(self, key: str, module: str) -> Fields:
        """Rank or alpha of one module: of the first pattern that matches its name, or that of all."""
        name = {"rank_pattern": "r", "alpha_pattern": "lora_alpha"}[key]
        patterns = self.fields.section(key, {})
        for pattern, value in patterns.values.items():
            try:
                matches = re.match(rf"(.*\.)?({pattern})$", module)
            except re.error as error:
                raise ArtifactError(f"{patterns.where}: {pattern!r} is no regular expression ({error})") from error
            if matches:
                return Fields({name: value}, f"{patterns.where}: {pattern}")
        default: dict[str, Any] = {name: self.fields.values.get(name, 8)}  # PEFT's own default of both
        return Fields(default, self.fields.where)

    def _check_shape(self, module: str, block: LoraBlock, shape: tuple[int, ...]) -> None:
        rank = block.a.shape[0]
        wanted = {block.a: (rank, *shape[1:]), block.b: (shape[0], rank)}
        if block.magnitude is not None:
            wanted[block.magnitude] = (shape[0],)
        for tensor, expected in wanted.items():
            if len(shape) != 2 or tensor.shape != expected:
                raise ArtifactError(
                    f"{tensor.file}: {tensor.name} has shape {list(tensor.shape)}; {module} of this model, "
                    f"{list(shape)}, needs {list(expected)}: the adapter is for another model"
                )


def _canonical_matrix(layout: CheckpointLayout, module: str) -> str | None:
    """The canonical name of a linear's matrix; the original layout calls the decoder's `base_layer`."""
    for name in (f"{module}.weight", f"{module}.base_layer.weight"):
        canonical = canonical_name(layout, name)
        if canonical is not None and not canonical.startswith(("unused.", "embed_tokens.")):
            return canonical
    return None
