"""The original model through PyTorch transformers: the figures that every export is measured against.

Prompts and features are made by the device's rules, which give what the model's own processor gives.
"""

from __future__ import annotations

import time
from pathlib import Path

from edgephi import Request
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.chat import ReplyTexts, messages_of
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item
from edgephi_evaluate.runs.identity import EngineIdentity
from edgephi_export.runtimes.checkpoint_prompts import CheckpointPrompts
from edgephi_export.runtimes.transformers_model import Precision, TransformersModel


class TransformersEngine:
    """Answers through transformers and PEFT, one item at a time, greedily.

    Args:
        checkpoint: In the layout phi3 or phi4_multimodal.
        precision: Of the weights in memory.
        threads: Of PyTorch; None for its own number.

    Raises:
        ConfigError: The layout needs program code of the checkpoint's own.
        ArtifactError: The checkpoint is damaged, or none that is known.
        EdgeError: transformers is not installed.
    """

    def __init__(self, checkpoint: Path, precision: Precision = "auto", threads: int | None = None) -> None:
        self._prompts = CheckpointPrompts(checkpoint)
        config = self._prompts.checkpoint.config
        self._texts = ReplyTexts(checkpoint / "tokenizer.json", config.tokens.eos)
        self._model = TransformersModel(checkpoint, self._prompts.layout, precision, threads)
        self._identity = EngineIdentity(
            name="transformers",
            version=self._model.version,
            model=str(checkpoint),
            model_sha256=self._prompts.checkpoint.config_sha256,
            settings=(f"precision {precision}",),
        )

    @property
    def identity(self) -> EngineIdentity:
        """See Engine. The hash is that of config.json."""
        return self._identity

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """See Engine."""
        began_s = time.perf_counter()
        images, audio = ([one.read() for one in media] for media in (item.images, item.audio))
        request = self._prompts.request(
            Request(messages_of(item), images=images, audio=audio), max_new_tokens=rules.max_new_tokens
        )
        read_s = time.perf_counter()
        ids = self._model.reply(request, adapters=rules.adapter == "auto").token_ids
        end_s = time.perf_counter()
        return self._texts.answer(ids, Seconds(total=end_s - began_s, preprocess=read_s - began_s))
