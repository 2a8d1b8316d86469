"""The same requests through edgephi and another runtime: `edgephi verify --runtime`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from edgephi import Model, SamplingOptions
from edgephi.audio.features import AudioFeatures
from edgephi.base.errors import ArtifactError, ConfigError
from edgephi.bundle.bundle import MANIFEST_NAME, Bundle, file_sha256
from edgephi.images.features import ImageFeatures
from edgephi.inspection.runtime_comparison import RequestComparison, RuntimeComparison
from edgephi_export.calibration.examples import Example
from edgephi_export.calibration.requests import builtin_examples
from edgephi_export.calibration.sequences import ForcedSequence
from edgephi_export.exporter import export
from edgephi_export.layouts.layout import FolderDescription
from edgephi_export.layouts.registry import find_layout
from edgephi_export.options import ExportOptions
from edgephi_export.runtimes.registry import find_runtime
from edgephi_export.runtimes.runtime import Runtime, RuntimeReply, RuntimeRequest

_MAX_NEW_TOKENS = 16


def compare_with_runtime(
    folder: Path, runtime: str, reference: str, on_request: Callable[[int, int], None]
) -> RuntimeComparison:
    """Run the built-in requests through both; one runtime is loaded at a time. See `CompareRuntime`.

    Raises:
        ConfigError: An unknown runtime, or a reference of another recipe or model.
        ArtifactError: A folder is damaged or none of its kind.
        EdgeError: The runtime's library is not installed.
    """
    library = find_runtime(runtime)
    version, layout = library.version(), find_layout(library.layout)
    described = layout.describe(folder)
    _check_files(folder, described)
    with _reference_folder(reference, described) as own:
        names, requests, ours = _own_replies(own)
    theirs = _replies(library, folder, requests, on_request)
    compared = (_compared(*both) for both in zip(names, requests, ours, theirs, strict=True))
    return RuntimeComparison(
        folder=folder, runtime=layout.library, version=version, reference=reference, requests=tuple(compared)
    )


def _check_files(folder: Path, described: FolderDescription) -> None:
    for info in described.files:
        path = folder / info.path
        if not path.is_file() or file_sha256(path) != info.sha256:
            raise ArtifactError(f"{path}: missing or changed since it was written; export or copy the folder again")


@contextmanager
def _reference_folder(reference: str, described: FolderDescription) -> Iterator[Path]:
    """A model folder of edgephi: the one given, or one made from the checkpoint given as the other folder was."""
    if (Path(reference) / MANIFEST_NAME).is_file():
        _check_same(Path(reference), described)
        yield Path(reference)
        return
    with tempfile.TemporaryDirectory(prefix="edgephi-") as made:
        options = ExportOptions(
            recipe=described.recipe.name, adapters=described.adapters.mode, modalities=described.modalities
        )
        folder = export(reference, Path(made) / "model", options)
        _check_same(folder, described)
        yield folder


def _check_same(own: Path, described: FolderDescription) -> None:
    manifest = Bundle(own).manifest
    same = {
        "checkpoint": manifest.source.config_sha256 == described.source.config_sha256,
        "recipe": manifest.recipe == described.recipe,
        "adapters": manifest.adapters.mode == described.adapters.mode,
        "modalities": manifest.modalities == described.modalities,
    }
    other = [name for name, is_same in same.items() if not is_same]
    if other:
        raise ConfigError(
            f"{own}: has another {' and '.join(other)} than the folder to compare; give --reference a model folder of "
            "the same checkpoint, exported with the same options but for --layout"
        )


def _own_replies(folder: Path) -> tuple[list[str], list[RuntimeRequest], list[RuntimeReply]]:
    names, requests, replies = [], [], []
    options = SamplingOptions.greedy(max_new_tokens=_MAX_NEW_TOKENS, speculation=False)
    with Model.load(folder, prefill_threshold=0) as model:
        for example in builtin_examples(model.manifest):
            prepared = model.prepare(example.request)
            made, tokens = prepared.prompt, model.manifest.tokens
            requests.append(
                RuntimeRequest(
                    token_ids=tuple(map(int, made.token_ids)),
                    images=cast("tuple[ImageFeatures, ...]", made.images),
                    audio=cast("tuple[AudioFeatures, ...]", made.audio),
                    tokens=tokens,
                    max_new_tokens=_MAX_NEW_TOKENS,
                )
            )
            logits = ForcedSequence(prompt=made, num_answer_tokens=0).logits(model)[0]
            reply = model.generate(prepared, options=options)
            replies.append(RuntimeReply(logits=logits, token_ids=tuple(reply.token_ids)))
            names.append(_name(example))
    return names, requests, replies


def _name(example: Example) -> str:
    return f"{example.name} ({example.mode})"


def _replies(
    library: Runtime, folder: Path, requests: Sequence[RuntimeRequest], on_request: Callable[[int, int], None]
) -> list[RuntimeReply]:
    replies = []
    with library.load(folder) as loaded:
        for number, request in enumerate(requests, start=1):
            replies.append(loaded.reply(request))
            on_request(number, len(requests))
    return replies


def _compared(name: str, request: RuntimeRequest, ours: RuntimeReply, theirs: RuntimeReply) -> RequestComparison:
    if ours.logits.shape != theirs.logits.shape:
        raise ArtifactError(f"{name}: {theirs.logits.size:,} logits where edgephi gives {ours.logits.size:,}")
    difference = float(np.abs(ours.logits - theirs.logits).max() / ours.logits.std())
    pairs = zip(ours.token_ids, theirs.token_ids, strict=False)
    first = next((place for place, (own, other) in enumerate(pairs) if own != other), None)
    if first is None and len(ours.token_ids) != len(theirs.token_ids):
        first = min(len(ours.token_ids), len(theirs.token_ids))
    return RequestComparison(
        name=name,
        mode=_mode(request),
        num_positions=request.num_positions,
        deviation=difference,
        num_tokens=len(ours.token_ids),
        first_difference=first,
    )


def _mode(request: RuntimeRequest) -> str:
    return {(False, False): "text", (True, False): "vision", (False, True): "speech", (True, True): "vision_speech"}[
        bool(request.images), bool(request.audio)
    ]
