"""The token ids of an example: its prompt, and the answer that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgephi import ConfigError, Model
from edgephi.bundle.bundle import Bundle
from edgephi.prompt.prompt import Prompt
from edgephi.prompt.prompt_files import open_prompts
from edgephi.prompt.tokenizer import Tokenizer
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
        self._ends = frozenset(bundle.manifest.tokens.eos)
        self._spellings = {token.id: token.content for token in self._tokenizer.control.values()}
        bundle.close()

    def answer_ids(self, answer: str) -> list[int]:
        """Ids of an answer, whose control tokens may be spelled."""
        return spelled_ids(self._tokenizer, answer)

    def without_end(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """A reply's ids without the token that ended it."""
        has_end = len(token_ids) > 0 and token_ids[-1] in self._ends
        return tuple(token_ids[:-1] if has_end else token_ids)

    def spelled(self, token_ids: Sequence[int]) -> str:
        """The text of ids with control tokens spelled out, as an example's answer has them."""
        runs = groupby(token_ids, key=self._spellings.get)
        return "".join(
            self._tokenizer.decode(run) if control is None else control * len(list(run)) for control, run in runs
        )

    def forced(self, model: Model, example: Example, answer_ids: Sequence[int]) -> ForcedSequence:
        """The sequence of an example with this answer after its prompt.

        Raises:
            ConfigError: The answer has no tokens, or the folder cannot serve the request.
            CapacityError: The prompt is longer than the context.
        """
        if not answer_ids:
            raise ConfigError(f"{example.name}: the answer has no tokens; write the right reply, or leave it out")
        return forced_after(model.prepare(example.request).prompt, answer_ids)


def forced_after(made: Prompt, answer_ids: Sequence[int]) -> ForcedSequence:
    """A prompt with an answer of these ids after it."""
    ids = np.concatenate([made.token_ids, np.array(answer_ids, dtype=np.int64)])
    return ForcedSequence(prompt=replace(made, token_ids=ids), num_answer_tokens=len(answer_ids))


def spelled_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text in which control tokens may be spelled."""
    return tokenizer.encode(tokenizer.split(text))
