"""Whether a checkpoint's folder is what it seems: one model, whole, with nothing left unread.

Weights that nothing names would be left out silently, so they are refused; so is what belongs to other tools. Each line
says what was found and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.checkpoint.peft_adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024
#: What an export reads; of other files a pointer may stay.
_READ = (".safetensors", ".json", ".jinja")
TAKE_ORIGINAL = "export the model it was made from, which edgephi quantizes itself (--recipe)"
#: What other tools leave, and what to do: the first that is there is named.
_FOREIGN = (
    ("edgephi.json", "is an edgephi model folder already; use it as it is: edgephi run {folder}"),
    ("genai_config.json", "is a model of onnxruntime-genai, already in ONNX; give the checkpoint it was made from"),
    ("*.gguf", f"holds a GGUF model for llama.cpp, not safetensors; {TAKE_ORIGINAL}"),
    ("*.onnx", "is an ONNX model already; give the checkpoint it was made from"),
    ("weights.npz", f"holds weights of MLX, not safetensors; {TAKE_ORIGINAL}"),
    ("pytorch_model*.bin*", "holds pickled weights (pytorch_model*.bin), which can run code, not safetensors; load "
     "it with transformers and call save_pretrained(), which writes safetensors"),
    ("*.pth", "holds pickled weights (*.pth), which can run code; convert them to transformers' safetensors"),
    ("*.pt", "holds pickled weights (*.pt), which can run code; convert them to transformers' safetensors"),
    ("tf_model.h5", "holds weights of TensorFlow, not safetensors"),
    ("flax_model*.msgpack", "holds weights of Flax, not safetensors"),
    ("*.nemo", "holds a model of NeMo, not safetensors"),
)  # fmt: skip
_MOVE = "move away whichever does not count, so that the folder holds one model"
#: What tools that quantize call their tensors: GPTQ, AWQ, bitsandbytes, compressed-tensors, FP8, MXFP4, quanto, MLX.
_QUANTIZED = (
    ".qweight", ".qzeros", ".g_idx", ".scales", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".SCB",
    ".weight_format", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".weight_zero_point", ".weight_shape",
    ".input_scale", ".weight_g_idx", "_blocks", "_scales", "._data", "._scale", ".biases",
)  # fmt: skip
#: Parts of the names of models that judge what they read.
_JUDGES = ("Classification", "QuestionAnswering", "Reward", "MultipleChoice")
_ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "adapter_model.bin")
#: How far down adapters are looked for: training leaves such as `output/run-1/checkpoint-100`.
_DEPTH = 4
#: The layouts that keep adapters of their own in sub-folders.
_OWN_ADAPTERS = ("vision-lora", "speech-lora")


def check_kind(folder: Path) -> None:
    """Refuse a folder that holds something else than a checkpoint in safetensors.

    Raises:
        ArtifactError: Files that Git LFS did not fetch, an adapter alone, a model of another tool.
    """
    for path in (file for place in (folder, *_sub_folders(folder)) for file in _files(place)):
        if path.suffix in _READ and _is_pointer(path):
            raise ArtifactError(
                f"{path}: a Git LFS pointer, not the file itself; fetch it with `git lfs pull`, or give the Hugging "
                "Face id"
            )
    names = {path.name for path in _files(folder)}
    if CONFIG in names:
        return
    if ADAPTER_CONFIG in names:
        raise ArtifactError(adapter_alone(folder, str(folder)))
    _refuse_foreign(folder)


def adapter_alone(folder: Path, name: str) -> str:
    """The message for a folder or repository that holds an adapter without its base."""
    values = Fields.load(folder / ADAPTER_CONFIG).values
    base = values.get("base_model_name_or_path")
    base = base if isinstance(base, str) and base.isprintable() and base else "BASE"
    kind = str(values.get("peft_type", "PEFT"))[:20]
    return (
        f"{name}: an adapter ({kind}) without its base model; merge it: edgephi export {base} --merge-adapter {name} "
        "-o DIR"
    )


def check_architecture(config: Fields) -> None:
    """Refuse a model of a known type that does something else than writing, such as judging what it reads.

    Raises:
        ArtifactError: `architectures` says so.
    """
    stated = config.values.get("architectures")
    for name in map(str, stated if isinstance(stated, list) else []):
        if any(kind in name for kind in _JUDGES):
            raise ArtifactError(
                f"{config.where}: architectures is {name[:60]!r}, which does not write text; give a model for chat"
            )


def unknown_tensor(name: str, layout: str) -> str:
    """A description of a tensor that no model of `layout` has, as far as its name shows, and what to do."""
    if name.endswith(_QUANTIZED) or ".quant_state." in name:
        return f"the checkpoint is quantized already; {TAKE_ORIGINAL}"
    if ".lora_" in name or ".base_layer." in name or ".modules_to_save." in name:
        return (
            "it belongs to an adapter that is not merged; load it with PEFT, call merge_and_unload() and "
            "save_pretrained(), and export that"
        )
    return f"{layout} models have none of this name"


def check_adapters(folder: Path, own_adapters: bool, merged: Path | None = None) -> None:
    """Refuse a folder with an adapter that an export would leave out silently.

    Args:
        folder: Has a config.json.
        own_adapters: Whether the layout keeps adapters in sub-folders.
        merged: The folder of the adapter that is merged; None for none. Whoever names one has seen the sub-folders.

    Raises:
        ArtifactError: There is one. The message has the option that merges it.
    """
    if merged is not None and merged.samefile(folder):
        return
    for name in _ADAPTER_FILES:
        if (folder / name).exists():
            raise ArtifactError(
                f"{folder / name}: a PEFT adapter beside the base model, not merged; merge it with --merge-adapter, or "
                "move it elsewhere to export the base alone"
            )
    for place in _below(folder, _DEPTH) if merged is None else ():
        is_own = own_adapters and place.parent == folder and place.name in _OWN_ADAPTERS
        if not is_own and any((place / name).exists() for name in _ADAPTER_FILES):
            raise ArtifactError(
                f"{place}: a PEFT adapter inside the base model's folder, not merged; merge it with --merge-adapter "
                f"{place}, or move it elsewhere to export the base alone"
            )


def check_weights(folder: Path) -> None:
    """Refuse a folder without weights in safetensors.

    Raises:
        ArtifactError: It says what is there instead.
    """
    names = {path.name for path in _files(folder)}
    if not names & {WEIGHTS, INDEX}:
        _refuse_without_weights(folder, names)


def check_leftovers(folder: Path) -> None:
    """Refuse a folder with weights that an export would leave out silently.

    Raises:
        ArtifactError: It names the first such file.
    """
    names = {path.name for path in _files(folder)}
    for name in sorted(names - _wanted(folder, names) - {ADAPTER_WEIGHTS}):
        pickled = name.startswith(("pytorch_model", "consolidated")) and name.endswith((".bin", ".pth", ".pt"))
        if pickled or name.endswith(".safetensors"):
            counting = WEIGHTS if WEIGHTS in names else INDEX
            raise ArtifactError(
                f"{folder / name}: weights that {counting} beside it does not name: two models, or one twice; {_MOVE}"
            )


def _wanted(folder: Path, names: set[str]) -> set[str]:
    """The weight files that are read."""
    if INDEX not in names:
        return {WEIGHTS}
    placed = {str(name) for name in Fields.load(folder / INDEX).section("weight_map").values.values()}
    if WEIGHTS in names and placed != {WEIGHTS}:
        raise ArtifactError(
            f"{folder / WEIGHTS}: beside {INDEX}, which names other files: two models or one twice; {_MOVE}"
        )
    return placed


def _refuse_without_weights(folder: Path, names: set[str]) -> None:
    _refuse_foreign(folder)
    for name in (WEIGHTS, INDEX):
        if (folder / name).is_symlink():
            raise ArtifactError(f"{folder / name}: a link to a file that is not there; download the checkpoint again")
    others = sorted(name for name in names if name.endswith(".safetensors") and name != ADAPTER_WEIGHTS)
    hint = f"; {others[0]} is there: rename it to {WEIGHTS}, or add the index of its parts" if others else ""
    raise ArtifactError(f"{folder}: neither {WEIGHTS} nor {INDEX} is there; only safetensors are read{hint}")


def _refuse_foreign(folder: Path) -> None:
    for pattern, what in _FOREIGN:
        if next(folder.glob(pattern), None) is not None:
            raise ArtifactError(f"{folder}: {what.format(folder=folder)}")


def _is_pointer(path: Path) -> bool:
    """Whether only Git LFS's few lines about a file are there; unreadable files are reported when they are needed."""
    try:
        if path.stat().st_size > _POINTER_BYTES:
            return False
        with path.open("rb") as stream:
            return stream.read(len(_POINTER)) == _POINTER
    except OSError:
        return False


def _files(folder: Path) -> list[Path]:
    return [path for path in _listing(folder) if path.is_file()]


def _sub_folders(folder: Path) -> list[Path]:
    return [path for path in _listing(folder) if path.is_dir() and not path.name.startswith(".")]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """Folders inside, links to folders left out below the first level: they may lead back."""
    for place in _sub_folders(folder):
        yield place
        if depth > 1 and not place.is_symlink():
            yield from _below(place, depth - 1)


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be read ({error.strerror})") from error
