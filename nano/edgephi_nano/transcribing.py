"""From mel features to the decoder's input and back to words.

The speech prompt in embeddings is rows of one of the two audio projections between the user tag and the instruction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import Phi4MultimodalForCausalLM

from edgephi_nano.answering import answer_embeds
from edgephi_nano.hearing import encode_clips, pad_clips
from edgephi_nano.spoken_cases import TRANSCRIBE
from edgephi_nano.tokenizer import ASSISTANT, END, USER, build_tokenizer

ANSWER_LIMIT = 48
IGNORED = -100


def speech_rows(model: Phi4MultimodalForCausalLM, features: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """Projected rows of each clip, float32 [A, hidden], by the projection for speech without pictures."""
    audio = model.model.embed_tokens_extend.audio_embed
    hidden, rows = encode_clips(audio.encoder, features, lengths)
    projected = audio.down_proj_for_speech(functional.gelu(audio.up_proj_for_speech(hidden))).float()
    return [clip[:count] for clip, count in zip(projected, rows.tolist(), strict=True)]


class SpeechPrompt(nn.Module):
    """Surrounds audio rows with the embedded tokens of the transcription prompt."""

    def __init__(self, embed_tokens: nn.Embedding) -> None:
        super().__init__()
        self.tokenizer = build_tokenizer()
        self.embed_tokens = embed_tokens
        self.before = self.ids(USER)
        self.after = self.ids(f"{TRANSCRIBE}{END}{ASSISTANT}")

    def ids(self, text: str) -> list[int]:
        """Token ids, special tokens included as control tokens."""
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def embed(self, ids: list[int]) -> torch.Tensor:
        """float32 [S, hidden]."""
        embedded: torch.Tensor = self.embed_tokens(torch.tensor(ids))
        return embedded

    def around(self, rows: torch.Tensor) -> torch.Tensor:
        """[A, hidden] audio rows -> the whole prompt, [S, hidden]."""
        return torch.cat([self.embed(self.before), rows, self.embed(self.after)])

    def with_answers(self, clips: Sequence[torch.Tensor], answers: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts followed by answers, padded at the end.

        Returns:
            float32 [B, S, hidden] inputs and int64 [B, S] next tokens, IGNORED outside the answers.
        """
        inputs, targets = [], []
        for rows, text in zip(clips, answers, strict=True):
            answer = self.ids(text + END)
            prompt = self.around(rows)
            inputs.append(torch.cat([prompt, self.embed(answer[:-1])]))
            targets.append(torch.tensor([IGNORED] * (len(prompt) - 1) + answer))
        return pad_sequence(inputs, batch_first=True), pad_sequence(targets, batch_first=True, padding_value=IGNORED)


@torch.no_grad()
def transcribe(model: Phi4MultimodalForCausalLM, clips: Sequence[np.ndarray], batch: int = 32) -> list[str]:
    """Greedy transcripts of clips [T, 80], with whatever adapter is switched on."""
    prompt = SpeechPrompt(model.model.embed_tokens)
    by_rows: dict[int, list[tuple[int, torch.Tensor]]] = {}
    for start in range(0, len(clips), batch):
        rows = speech_rows(model, *pad_clips(clips[start : start + batch]))
        for i, one in enumerate(rows, start):
            by_rows.setdefault(len(one), []).append((i, prompt.around(one)))
    texts = [""] * len(clips)
    for members in by_rows.values():
        answers = answer_embeds(model, torch.stack([embeds for _, embeds in members]), ANSWER_LIMIT)
        for (i, _), ids in zip(members, answers, strict=True):
            texts[i] = prompt.tokenizer.decode(ids, skip_special_tokens=False)
    return texts
