"""A folder of `--layout genai` through onnxruntime-genai: text alone, as the layout holds the decoder alone."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi.base.json_file import read_json
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.extras import need
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.runs.identity import EngineIdentity

_CONFIG = "genai_config.json"
_SMALL_BYTES = 1 << 20


class GenaiEngine:
    """Answers through the library's own tokenizer, chat template and cache.

    Args:
        folder: With genai_config.json.
        threads: Of the decoder; None for the library's own number.

    Raises:
        ConfigError: onnxruntime-genai is not installed.
        ArtifactError: The folder is none that it can load.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        self._library = need("onnxruntime_genai", "for --engine genai", "genai")
        raw = read_json(folder / _CONFIG, "; give a folder of `edgephi export --layout genai`")
        self._eos = _end_ids(raw, folder / _CONFIG)
        try:
            config = self._library.Config(str(folder))
            if threads is not None:
                options = {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}
                config.overlay(json.dumps(options))
            self._model = self._library.Model(config)
            self._tokenizer = self._library.Tokenizer(self._model)
        except RuntimeError as error:
            raise ArtifactError(
                f"{folder}: onnxruntime-genai cannot load it ({' '.join(str(error).split())})"
            ) from error
        self._marks = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._identity = EngineIdentity(
            name="genai", version=self._library.__version__, model=str(folder), model_sha256=_digest(folder)
        )

    @property
    def identity(self) -> EngineIdentity:
        """See Engine."""
        return self._identity

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """See Engine.

        Raises:
            ConfigError: The item has media.
            EdgeError: The library refuses the item, such as one longer than its context.
        """
        if item.media:
            raise ConfigError(f"item {item.id} has images or audio; --engine genai answers text alone")
        try:
            return self._answer(item, rules.max_new_tokens)
        except RuntimeError as error:
            raise EdgeError(f"onnxruntime-genai: {' '.join(str(error).split())}") from error

    def _answer(self, item: Item, most: int) -> Answer:
        began_s = time.perf_counter()
        messages = json.dumps([_message(turn) for turn in item.turns])
        prompt = self._tokenizer.encode(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True))
        parameters = self._library.GeneratorParams(self._model)
        parameters.set_search_options(do_sample=False, max_length=len(prompt) + most, batch_size=1)
        generator = self._library.Generator(self._model, parameters)
        ready_s = time.perf_counter()
        generator.append_tokens(prompt)
        read_s = time.perf_counter()
        ids: list[int] = []
        while not generator.is_done() and len(ids) < most:
            generator.generate_next_token()
            ids.append(int(generator.get_next_tokens()[0]))
        end_s = time.perf_counter()
        shown = [token_id for token_id in ids if token_id not in self._eos]
        return Answer(
            text=self._marks.decode(shown, skip_special_tokens=True),
            marked_text=self._marks.decode(shown, skip_special_tokens=False),
            token_ids=tuple(ids),
            new_tokens=len(ids),
            finish_reason="stop" if ids and ids[-1] in self._eos else "length",
            seconds=Seconds(
                total=end_s - began_s,
                preprocess=ready_s - began_s,
                encode=0.0,
                prefill=read_s - ready_s,
                decode=end_s - read_s,
            ),
        )


def _message(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": turn.text, **({} if turn.tools is None else {"tools": turn.tools})}


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
