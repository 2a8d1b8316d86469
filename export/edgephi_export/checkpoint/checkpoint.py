"""A checkpoint folder, read and checked: three layouts in, one description and one set of tensor names out.

phi4mm            the original: everything in model-*.safetensors, adapters included
phi4_multimodal   native to transformers: adapters in speech-lora/ and vision-lora/ as PEFT writes them
phi3              Phi-4-mini: the decoder alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

import numpy as np

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import file_sha256
from edgephi.bundle.manifest import AdapterInfo, EncoderName, MergedAdapterInfo
from edgephi_export.checkpoint.adapter_config import read_original_adapter, read_peft_adapter
from edgephi_export.checkpoint.config import (
    MODALITIES,
    CheckpointLayout,
    Modality,
    ModelConfig,
    SpeechConfig,
    VisionConfig,
)
from edgephi_export.checkpoint.decoder_config import read_decoder, read_rope
from edgephi_export.checkpoint.encoder_config import (
    Shapes,
    read_native_speech,
    read_native_vision,
    read_original_speech,
    read_original_vision,
)
from edgephi_export.checkpoint.folder_check import (
    CONFIG,
    INDEX,
    WEIGHTS,
    check_adapters,
    check_architecture,
    check_kind,
    check_leftovers,
    check_weights,
    unknown_tensor,
)
from edgephi_export.checkpoint.generation_config import read_generation
from edgephi_export.checkpoint.gptq_config import GptqConfig, read_quantization
from edgephi_export.checkpoint.gptq_linear import GptqLinear, take_linears
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.peft_adapter import Adapter
from edgephi_export.checkpoint.processor_config import read_max_crops
from edgephi_export.checkpoint.safetensors_file import StoredTensor, read_header
from edgephi_export.checkpoint.selection import Selection
from edgephi_export.checkpoint.special_tokens import read_chat_template, read_tokens
from edgephi_export.checkpoint.tensor_names import (
    canonical_gptq_name,
    canonical_name,
    canonical_peft_name,
    expected_shapes,
)
from edgephi_export.checkpoint.tensors import WeightSource

_COMPARED_ROWS = 1024
_HEAD = "unused.lm_head.weight"
Stored = dict[str, StoredTensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checked checkpoint.

    Attributes:
        path: Its folder.
        config: What it is.
        weights: Its tensors by canonical name.
        chat_template: Jinja source.
        config_sha256: Of config.json.
        adapter: What was merged into the base's weights; None where nothing was.
    """

    path: Path
    config: ModelConfig
    weights: WeightSource
    chat_template: str
    config_sha256: str
    adapter: MergedAdapterInfo | None = None


def read_layout(folder: Path) -> CheckpointLayout:
    """The layout of a checkpoint, from `model_type`.

    Raises:
        ArtifactError: No folder, no readable config.json, or a model this exporter does not know or cannot read: an
            adapter alone, one that is quantized already, one of another tool.
    """
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such checkpoint; give a folder with config.json or a Hugging Face id")
    check_kind(folder)
    config = Fields.load(folder / CONFIG)
    model_type = config.values.get("model_type")
    if model_type not in get_args(CheckpointLayout):
        raise ArtifactError(
            f"{config.where}: unknown model_type {model_type!r}; supported: {', '.join(get_args(CheckpointLayout))}, "
            "which are Phi-4-multimodal and Phi-4-mini"
        )
    read_quantization(config)
    check_architecture(config)
    return cast(CheckpointLayout, model_type)


def available_modalities(layout: CheckpointLayout) -> tuple[Modality, ...]:
    """The modalities that models of a layout take in."""
    return ("text",) if layout == "phi3" else MODALITIES


def open_checkpoint(folder: Path, selection: Selection, adapter: Adapter | None = None) -> Checkpoint:
    """Read a checkpoint and check everything about it short of the tensors' values.

    Args:
        folder: Where it is.
        selection: Which parts are read.
        adapter: Merged into the base's weights as they are read.

    Raises:
        ArtifactError: A file is missing or damaged, a setting is not supported, or a tensor is missing, unexpected or
            of the wrong shape. The message names the file and the tensor.
    """
    layout = read_layout(folder)
    fields = Fields.load(folder / CONFIG)
    check_adapters(folder, own_adapters=layout != "phi3", merged=adapter.folder if adapter else None)
    quantization = read_quantization(fields)
    tensors = _canonical_tensors(folder, layout, quantization)
    tied = fields.get("tie_word_embeddings", bool, False)
    if tied and "embed_tokens.weight" not in tensors and _HEAD in tensors:
        tensors["embed_tokens.weight"] = tensors.pop(_HEAD)  # safetensors' save_model keeps either name of one table
    if layout == "phi4_multimodal":
        for own in selection.adapters:
            tensors |= _peft_tensors(folder / f"{own}-lora", own)
    check_leftovers(folder)
    config = _read_config(folder, layout, fields, selection, {name: t.shape for name, t in tensors.items()})
    shapes = expected_shapes(config)
    coded = take_linears(tensors, quantization, shapes) if quantization else {}
    _check_tensors(folder, tensors, config, coded)
    _check_tied_head(fields, tied, tensors)
    if coded and adapter:
        raise ArtifactError(
            f"{folder}: the checkpoint holds codes, into which no adapter can be merged; merge it into the model that "
            "they were made from"
        )
    changes = adapter.blocks(layout, config.decoder, shapes) if adapter else {}
    return Checkpoint(
        path=folder,
        config=config,
        weights=WeightSource({name: tensors[name] for name in shapes if name in tensors}, changes, coded),
        chat_template=read_chat_template(folder),
        config_sha256=file_sha256(folder / CONFIG),
        adapter=adapter.info if adapter else None,
    )


def _read_config(
    folder: Path, layout: CheckpointLayout, fields: Fields, selection: Selection, shapes: Shapes
) -> ModelConfig:
    decoder = read_decoder(fields)
    modalities = selection.modalities
    return ModelConfig(
        model_type=layout,
        decoder=decoder,
        rope=read_rope(fields, decoder.head_size),
        vision=_read_vision(folder, layout, fields, shapes) if "vision" in modalities else None,
        speech=_read_speech(layout, fields) if "speech" in modalities else None,
        adapters=tuple(_read_adapter(folder, layout, fields, name) for name in selection.adapters),
        tokens=read_tokens(fields, folder, modalities),
        generation=read_generation(folder, fields),
    )


def _read_vision(folder: Path, layout: CheckpointLayout, fields: Fields, shapes: Shapes) -> VisionConfig:
    max_crops = read_max_crops(folder, layout)
    if layout == "phi4mm":
        return read_original_vision(fields, max_crops, shapes)
    return read_native_vision(fields, max_crops)


def _read_speech(layout: CheckpointLayout, fields: Fields) -> SpeechConfig:
    return read_original_speech(fields) if layout == "phi4mm" else read_native_speech(fields)


def _read_adapter(folder: Path, layout: CheckpointLayout, fields: Fields, name: EncoderName) -> AdapterInfo:
    if layout == "phi4mm":
        return read_original_adapter(fields, name)
    return read_peft_adapter(folder / f"{name}-lora", name)


def _canonical_tensors(folder: Path, layout: CheckpointLayout, quantization: GptqConfig | None) -> Stored:
    tensors: Stored = {}
    rename = canonical_name if quantization is None else canonical_gptq_name
    for path, header in _weight_headers(folder).items():
        _add(tensors, path, header, partial(rename, layout), partial(unknown_tensor, layout=layout))
    return tensors


def _add(
    tensors: Stored, path: Path, header: Stored, rename: Callable[[str], str | None], hint: Callable[[str], str]
) -> None:
    """Add the tensors of one file by canonical name, each once."""
    for name, tensor in header.items():
        canonical = rename(name)
        if canonical is None:
            raise ArtifactError(f"{path}: unexpected tensor {name}; {hint(name)}")
        if canonical in tensors:
            other = tensors[canonical]
            raise ArtifactError(f"{path}: tensor {name} is also in {other.file.name}, as {other.name}")
        tensors[canonical] = tensor


def _weight_headers(folder: Path) -> dict[Path, Stored]:
    """The tensors of each weight file by stored name; with an index, checked against what it promises."""
    check_weights(folder)
    if (folder / WEIGHTS).is_file():
        return {folder / WEIGHTS: read_header(folder / WEIGHTS)}
    places = Fields.load(folder / INDEX).section("weight_map").values
    files = sorted(set(map(str, places.values())))
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors") or not name.isprintable():
            raise ArtifactError(f"{folder / INDEX}: {name!r} is not the name of a safetensors file")
    held = {name: read_header(folder / name) for name in files}
    for tensor, place in places.items():
        if tensor not in held[place]:
            shown = tensor if tensor.isprintable() else repr(tensor)
            raise ArtifactError(f"{folder / place}: tensor {shown} is missing, though {INDEX} puts it there")
    return {folder / name: header for name, header in held.items()}


def _peft_tensors(folder: Path, adapter: str) -> Stored:
    tensors: Stored = {}
    if folder.is_dir():  # read_peft_adapter words the refusal
        path = folder / "adapter_model.safetensors"
        rename = partial(canonical_peft_name, adapter)
        _add(tensors, path, read_header(path), rename, lambda _: "only LoRA of the decoder's linears is supported")
    return tensors


def _check_tensors(folder: Path, tensors: Stored, config: ModelConfig, coded: Mapping[str, GptqLinear]) -> None:
    expected = expected_shapes(config)
    for name, shape in expected.items():
        if name in coded:
            continue
        if name not in tensors:
            raise ArtifactError(f"{folder}: tensor {name} is missing from the weights")
        if tensors[name].shape != shape:
            found = tensors[name]
            raise ArtifactError(
                f"{found.file}: tensor {found.name} has shape {list(found.shape)}; the config asks for {list(shape)}"
            )
        tensors[name].check_dtype()
    for name, tensor in tensors.items():
        if name not in expected and not _is_left_out(name, config):
            raise ArtifactError(f"{tensor.file}: unexpected tensor {tensor.name}; the config describes a smaller model")


def _is_left_out(name: str, config: ModelConfig) -> bool:
    """Whether a tensor belongs to a part that real checkpoints have and this export does not read."""
    adapters = {adapter.name for adapter in config.adapters}
    if ".lora_" in name:
        return name.split(".")[-2] not in adapters
    left_out = (("vision.", config.vision is None), ("speech.", config.speech is None), ("unused.", True))
    return any(missing for prefix, missing in left_out if name.startswith(prefix))


def _check_tied_head(fields: Fields, tied: bool, tensors: Stored) -> None:
    """The head must be the embedding, whether it is stored a second time or not."""
    head, table = tensors.get(_HEAD), tensors["embed_tokens.weight"]
    if not tied and (head is None or not _same_table(head, table)):
        raise ArtifactError(
            f"{fields.where}: tie_word_embeddings is False; only True is supported: the head of Phi-4-mini and "
            "Phi-4-multimodal is their embedding, while Phi-3, Phi-3.5 and Phi-4 (14B) have one of its own"
        )
    if head is not None and not _same_table(head, table):
        raise ArtifactError(f"{head.file}: lm_head.weight differs from the embedding; the config says they are tied")


def _same_table(first: StoredTensor, second: StoredTensor) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype and _same_bytes(first, second)


def _same_bytes(first: StoredTensor, second: StoredTensor) -> bool:
    """Compare two tables of one shape and dtype some rows at a time; the whole would need gigabytes."""
    starts = range(0, first.shape[0], _COMPARED_ROWS)
    spans = ((start, min(start + _COMPARED_ROWS, first.shape[0])) for start in starts)
    return all(np.array_equal(first.read_bytes(*span), second.read_bytes(*span)) for span in spans)
