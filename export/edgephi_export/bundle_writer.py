"""Writes the files of a bundle into a folder and describes them in the manifest.

Owns file names and the manifest. Knows nothing about how the folder becomes visible (see staging.py).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgephi.bundle import CHAT_TEMPLATE_NAME, MANIFEST_NAME, TOKENIZER_NAME, file_sha256
from edgephi.manifest import (
    SCHEMA_VERSION,
    AdaptersInfo,
    DecoderInfo,
    FileInfo,
    Manifest,
    RecipeInfo,
    SourceInfo,
    SpeechInfo,
    TensorRef,
    VisionInfo,
)
from edgephi_export.checkpoint import Checkpoint
from edgephi_export.config import DecoderConfig, SpeechConfig, VisionConfig
from edgephi_export.decoder_graph import DecoderParts, build_decoder
from edgephi_export.graph_builder import GraphBuilder
from edgephi_export.hub import Located
from edgephi_export.recipe import Recipe
from edgephi_export.selection import Selection
from edgephi_export.speech_graph import build_speech
from edgephi_export.vision_graph import build_vision
from edgephi_export.weights_file import WeightsFile

_DECODER, _VISION, _SPEECH = "decoder.onnx", "vision.onnx", "speech.onnx"


@dataclass(slots=True)
class BundleWriter:
    """Writes one bundle.

    Attributes:
        folder: Where to; it exists and is empty.
        checkpoint: What from.
        selection: Which parts.
        recipe: How linears are stored.
        on_stage: Hears the name of each part before it is written.
        on_bytes: Hears of every write to a weights file.
    """

    folder: Path
    checkpoint: Checkpoint
    selection: Selection
    recipe: Recipe
    on_stage: Callable[[str], None]
    on_bytes: Callable[[int], None]
    _files: list[FileInfo] = field(default_factory=list, init=False)

    def write(self, located: Located) -> None:
        """Write every file; the manifest comes last.

        Args:
            located: What to call the source.
        """
        config = self.checkpoint.config
        decoder = self._write_decoder(config.decoder)
        vision = self._write_vision(config.vision) if config.vision else None
        speech = self._write_speech(config.speech) if config.speech else None
        self._write_texts()
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            generator=f"edgephi {_version()}",
            source=SourceInfo(
                id=located.id,
                revision=located.revision,
                model_type=config.model_type,
                config_sha256=self.checkpoint.config_sha256,
            ),
            recipe=RecipeInfo(name=self.recipe.name),
            adapters=AdaptersInfo(mode=self.selection.mode, available=config.adapters),
            rope=config.rope,
            decoder=decoder,
            vision=vision,
            speech=speech,
            tokens=config.tokens,
            generation=config.generation,
            files=tuple(sorted(self._files, key=lambda info: info.path)),
        )
        (self.folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")

    def _write_decoder(self, sizes: DecoderConfig) -> DecoderInfo:
        self.on_stage("decoder")
        with contextlib.ExitStack() as stack:
            base = stack.enter_context(self._weights("decoder"))
            routed = self.selection.adapters if self.selection.mode == "routed" else ()
            adapter_files = {str(name): stack.enter_context(self._weights(f"adapter_{name}")) for name in routed}
            parts = DecoderParts(
                config=self.checkpoint.config,
                source=self.checkpoint.weights,
                recipe=self.recipe,
                mode=self.selection.mode,
                file=base,
                adapter_files=adapter_files,
            )
            graph, embedding = build_decoder(parts)
            self._files += [file.info() for file in (base, *adapter_files.values())]
        self._save(graph, _DECODER)
        return _decoder_info(sizes, embedding)

    def _write_vision(self, config: VisionConfig) -> VisionInfo:
        self.on_stage("vision")
        hidden = self.checkpoint.config.decoder.hidden_size
        with self._weights("vision") as file:
            graph, separators = build_vision(config, hidden, self.checkpoint.weights, self.recipe, file)
            self._files.append(file.info())
        self._save(graph, _VISION)
        return VisionInfo(
            graph=_VISION,
            crop_size=config.crop_size,
            patch_size=config.patch_size,
            max_crops=config.max_crops,
            row_separator=separators.row_separator,
            global_separator=separators.global_separator,
        )

    def _write_speech(self, config: SpeechConfig) -> SpeechInfo:
        self.on_stage("speech")
        projections = self.selection.projections
        with self._weights("speech") as file:
            graph = build_speech(config, self.checkpoint.weights, self.recipe, file, projections)
            self._files.append(file.info())
        self._save(graph, _SPEECH)
        return SpeechInfo(
            graph=_SPEECH,
            num_mels=config.num_mels,
            time_reduction=config.time_reduction,
            window_rows=config.window_rows,
            projections=projections,
        )

    def _write_texts(self) -> None:
        self.on_stage("tokenizer")
        shutil.copyfile(self.checkpoint.path / TOKENIZER_NAME, self.folder / TOKENIZER_NAME)
        (self.folder / CHAT_TEMPLATE_NAME).write_text(self.checkpoint.chat_template, encoding="utf-8")
        self._list(TOKENIZER_NAME)
        self._list(CHAT_TEMPLATE_NAME)

    def _weights(self, name: str) -> WeightsFile:
        return WeightsFile(self.folder, f"weights/{name}.bin", self.on_bytes)

    def _save(self, graph: GraphBuilder, name: str) -> None:
        graph.save(self.folder / name)
        self._list(name)

    def _list(self, name: str) -> None:
        path = self.folder / name
        self._files.append(FileInfo(path=name, bytes=path.stat().st_size, sha256=file_sha256(path)))


def _decoder_info(sizes: DecoderConfig, embedding: TensorRef) -> DecoderInfo:
    return DecoderInfo(
        graph=_DECODER,
        hidden_size=sizes.hidden_size,
        num_layers=sizes.num_layers,
        num_heads=sizes.num_heads,
        num_kv_heads=sizes.num_kv_heads,
        head_size=sizes.head_size,
        vocab_size=sizes.vocab_size,
        embedding=embedding,
    )


def _version() -> str:
    try:
        return importlib.metadata.version("edgephi")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
