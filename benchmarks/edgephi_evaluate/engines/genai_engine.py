"""A folder of `--layout genai` through onnxruntime-genai, with the library's own tokenizer, template and processor."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi.base.json_file import read_json
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.chat import ReplyTexts, messages_of
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item, Media
from edgephi_evaluate.runs.identity import EngineIdentity
from edgephi_export.runtimes.genai import LoadedGenai, greedy

_CONFIG, _IMAGE_CONFIG = "genai_config.json", "vision_processor.json"
_SMALL_BYTES = 1 << 20
#: Others end the whole process, and no exception can be caught.
_IMAGE_STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
#: Of the public model; the rows of other crops are counted wrongly.
_CROP = 448


class GenaiEngine:
    """Answers through the library's own tokenizer, chat template, processor and cache.

    Args:
        folder: With genai_config.json.
        threads: Of the decoder; None for what the folder says.

    Raises:
        EdgeError: onnxruntime-genai is not installed.
        ArtifactError: The folder is none that it can load.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        raw = read_json(folder / _CONFIG, "; give a folder of `edgephi export --layout genai`")
        self._texts = ReplyTexts(folder / "tokenizer.json", _end_ids(raw, folder / _CONFIG))
        self._loaded = LoadedGenai(folder, threads)
        library = self._loaded.library
        self._tokenizer = library.Tokenizer(self._loaded.model)
        self._processor: Any = self._loaded.model.create_multimodal_processor() if self._loaded.takes_media else None
        self._takes_images = f'"dyhd_base_resolution": {_CROP}' in _text_of(folder / _IMAGE_CONFIG)
        self._identity = EngineIdentity(
            name="genai", version=library.__version__, model=str(folder), model_sha256=_digest(folder)
        )

    @property
    def identity(self) -> EngineIdentity:
        """See Engine."""
        return self._identity

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """See Engine.

        Raises:
            ConfigError: The suite switches adapters off, or the folder does not take the item's media.
            EdgeError: The library refuses the item, such as one longer than its context.
        """
        if rules.adapter != "auto":
            raise ConfigError("onnxruntime-genai follows the model's own rule for adapters; measure this with edgephi")
        self._check(item)
        try:
            return self._answer(item, rules.max_new_tokens)
        except RuntimeError as error:
            raise EdgeError(f"onnxruntime-genai: {' '.join(str(error).split())}") from error

    def _check(self, item: Item) -> None:
        if item.media and self._processor is None:
            raise ConfigError(f"item {item.id} has images or audio, and this folder is for text alone")
        if item.images and not self._takes_images:
            raise ConfigError(
                f"item {item.id} has images, which onnxruntime-genai cuts into crops of {_CROP} pixels only"
            )
        for image in item.images:
            if not _content(image).startswith(_IMAGE_STARTS):
                raise ConfigError(f"{image.name}: neither PNG nor JPEG, at which onnxruntime-genai ends the process")

    def _answer(self, item: Item, most: int) -> Answer:
        began_s = time.perf_counter()
        messages = json.dumps(messages_of(item, tagged=True))
        prompt = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        inputs = self._inputs(prompt, item)
        length = inputs["input_ids"].shape()[-1] if item.media else len(inputs)
        generator = self._loaded.generator(length + most)
        ready_s = time.perf_counter()
        (generator.set_inputs if item.media else generator.append_tokens)(inputs)
        read_s = time.perf_counter()
        ids = greedy(generator, most)
        end_s = time.perf_counter()
        seconds = Seconds(
            total=end_s - began_s,
            preprocess=ready_s - began_s,
            encode=None if item.media else 0.0,  # encoders and decoder run in one call of the library
            prefill=read_s - ready_s,
            decode=end_s - read_s,
        )
        return self._texts.answer(ids, seconds)

    def _inputs(self, prompt: str, item: Item) -> Any:
        """Token ids of text alone, else the tensors of the library's processor."""
        if not item.media:
            return self._tokenizer.encode(prompt)
        library = self._loaded.library
        return self._processor(
            prompt,
            images=_opened(library.Images, item.images) if item.images else None,
            audios=_opened(library.Audios, item.audio) if item.audio else None,
        )


def _opened(kind: Any, media: Sequence[Media]) -> Any:
    return kind.open_bytes(*(_content(one) for one in media))


def _content(media: Media) -> bytes:
    source = media.read()
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _end_ids(raw: Any, path: Path) -> frozenset[int]:
    try:
        ids = raw["model"]["eos_token_id"]
        return frozenset(map(int, ids if isinstance(ids, list) else [ids]))
    except (LookupError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: has no model.eos_token_id; export the folder again") from error


def _digest(folder: Path) -> str:
    """Of all names and sizes, and of the contents of what is small: configuration, tokenizer, graph."""
    digest = hashlib.sha256()
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)}\0{size}\0".encode())
        if size <= _SMALL_BYTES:
            digest.update(path.read_bytes())
    return digest.hexdigest()
