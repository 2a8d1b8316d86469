"""The token ids of an example: its prompt, and the answer that follows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgephi import ConfigError, Model
from edgephi.bundle.bundle import Bundle
from edgephi.prompt.prompt import Prompt
from edgephi.prompt.prompt_files import open_prompts
from edgephi.sources.source import ImageSource
from edgephi_export.calibration.examples import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class ForcedSequence:
    """A prompt with an answer after it, for a teacher-forced pass.

    Attributes:
        prompt: Token ids of both, and the features of its media.
        num_answer_tokens: How many of the last ids are the answer's; the end token is not among them.
    """

    prompt: Prompt
    num_answer_tokens: int

    def logits(self, model: Model) -> NDArray[np.float32]:
        """float32 [A + 1, V]: what each of the A answer tokens, and then the end, was predicted with.

        Raises:
            EdgeError: As `Model.logits`.
        """
        made = self.prompt
        return model.logits(
            made.token_ids,
            rows=self.num_answer_tokens + 1,
            images=cast("tuple[ImageSource, ...]", made.images),  # features are taken as well, as of audio
            audio=made.audio,
            adapter=made.adapter,
            max_crops=made.max_crops,
        )


class SequenceBuilder:
    """Makes the sequences of one model folder.

    Args:
        path: The folder.

    Raises:
        ArtifactError: It is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        bundle = Bundle(path)
        self._tokenizer = open_prompts(bundle).tokenizer
        bundle.close()

    def answer_ids(self, answer: str) -> list[int]:
        """Ids of an answer, whose control tokens may be spelled."""
        return self._tokenizer.encode(self._tokenizer.split(answer))

    def forced(self, model: Model, example: Example, answer_ids: list[int]) -> ForcedSequence:
        """The sequence of an example with this answer after its prompt.

        Raises:
            ConfigError: The answer has no tokens, or the folder cannot serve the request.
            CapacityError: The prompt is longer than the context.
        """
        if not answer_ids:
            raise ConfigError(f"{example.name}: the answer has no tokens; write the right reply, or leave it out")
        made = model.prepare(example.request).prompt
        ids = np.concatenate([made.token_ids, np.array(answer_ids, dtype=np.int64)])
        prompt = Prompt(ids, made.images, made.audio, made.adapter, made.max_crops)
        return ForcedSequence(prompt=prompt, num_answer_tokens=len(answer_ids))
