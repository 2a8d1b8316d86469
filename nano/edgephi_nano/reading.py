"""Asking the model about pictures in PyTorch: questions as embeddings, and exact answers counted."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgephi_nano.answering import answer_embeds
from edgephi_nano.branching import IGNORE, Branch
from edgephi_nano.hearing import encode_clips, pad_clips
from edgephi_nano.picture_questions import AUDIO_TAG, IMAGE_TAG, WRITTEN, PictureCase
from edgephi_nano.picture_rows import encode
from edgephi_nano.tokenizer import ASSISTANT, END, build_tokenizer
from edgephi_nano.views import cut

LONGEST_ANSWER = 10  # tokens


class Words:
    """Token ids and frozen embeddings of written text."""

    def __init__(self, model: nn.Module) -> None:
        self.tokenizer, self.table = build_tokenizer(), model.model.embed_tokens

    def ids(self, text: str) -> list[int]:
        """Token ids; special tokens in the text are control tokens."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def embed(self, text: str) -> Tensor:
        """float32 [S, hidden]."""
        return self.table(torch.tensor(self.ids(text))).detach().float()

    def branch(self, question: Tensor, answer: str) -> Branch:
        """A question (embeddings [S, hidden] up to the assistant tag) and its answer, as something to learn."""
        wanted = torch.tensor([*self.ids(answer), *self.ids(END)])
        targets = torch.cat((torch.full((len(question) - 1,), IGNORE), wanted))
        return Branch(torch.cat((question, self.table(wanted[:-1]).detach().float())), targets)

    def written(self, rng: random.Random, kind: str, answer: str) -> Branch:
        """The question in its written form, at times in lower case without the question mark."""
        text = WRITTEN[kind] if rng.random() < 0.8 else WRITTEN[kind].lower().rstrip("?")
        return self.branch(self.embed(f"{text}{END}{ASSISTANT}"), answer)

    def spoken(self, rows: Tensor, answer: str) -> Branch:
        """A question given as projected audio rows [A, hidden]."""
        return self.branch(torch.cat((rows, self.embed(f"{END}{ASSISTANT}"))), answer)


def project_audio(audio_embed: nn.Module, rows: Tensor) -> Tensor:
    """[A, 160] tower rows to [A, 256] by the projection used beside pictures."""
    hidden = nn.functional.gelu(audio_embed.up_proj_for_vision_speech(rows))
    return audio_embed.down_proj_for_vision_speech(hidden).float()


@torch.no_grad()
def hear(audio_embed: nn.Module, features: Sequence[Tensor]) -> list[Tensor]:
    """Tower rows float32 [A, 160] of each clip of log-mel features [T, 80]."""
    heard, rows = encode_clips(audio_embed.encoder, *pad_clips(features))
    return [clip[:count].float() for clip, count in zip(heard, rows.tolist(), strict=True)]


def prompt_embeds(model: nn.Module, words: Words, case: PictureCase) -> Tensor:
    """float32 [S, hidden]: the prompt with its media tags replaced by encoded rows."""
    extend = model.model.embed_tokens_extend
    before, after = case.prompt.split(IMAGE_TAG)
    parts = [words.embed(before), encode([cut(case.image)], extend.image_embed)[0]]
    if case.features is not None:
        after = after.removeprefix(AUDIO_TAG)
        parts.append(project_audio(extend.audio_embed, hear(extend.audio_embed, [case.features])[0]))
    return torch.cat((*parts, words.embed(after)))


@torch.no_grad()
def answer_cases(model: nn.Module, words: Words, cases: Sequence[PictureCase]) -> list[str]:
    """Greedy answer to each case."""
    groups: dict[int, list[tuple[int, Tensor]]] = {}
    for i, case in enumerate(cases):
        prompt = prompt_embeds(model, words, case)
        groups.setdefault(len(prompt), []).append((i, prompt))
    out = [""] * len(cases)
    for group in groups.values():
        found = answer_embeds(model, torch.stack([prompt for _, prompt in group]), LONGEST_ANSWER)
        for (i, _), ids in zip(group, found, strict=True):
            out[i] = words.tokenizer.decode(ids, skip_special_tokens=False)
    return out


def measure(model: nn.Module, words: Words, cases: Sequence[PictureCase]) -> dict[str, float]:
    """Share of exact answers, in all and per question kind."""
    hits: dict[str, list[bool]] = {"exact": []}
    for case, answer in zip(cases, answer_cases(model, words, cases), strict=True):
        for key in ("exact", case.question):
            hits.setdefault(key, []).append(answer == case.answer)
    return {key: round(sum(found) / len(found), 4) for key, found in hits.items()}
