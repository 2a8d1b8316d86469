"""Greedy answers in PyTorch, for many prompts at once, from token ids or embeddings."""

from __future__ import annotations

import torch
from torch import nn
from transformers import DynamicCache, Phi4MultimodalForCausalLM

from edgephi_nano.tokenizer import END, END_OF_TEXT, build_tokenizer, special_id


@torch.no_grad()
def answer_embeds(model: Phi4MultimodalForCausalLM, embeds: torch.Tensor, limit: int) -> list[list[int]]:
    """Greedy continuation of prompts of one common length.

    Args:
        model: With whatever adapter is switched on.
        embeds: float32 [B, S, hidden].
        limit: Most new tokens per answer.

    Returns:
        Token ids of each answer, without the end token.
    """
    stops = torch.tensor([special_id(END), special_id(END_OF_TEXT)])
    cache = DynamicCache()
    hidden = model.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
    tokens: list[torch.Tensor] = []
    stopped = torch.zeros(len(embeds), dtype=torch.bool)
    for _ in range(limit):
        chosen = model.lm_head(hidden).argmax(-1)
        tokens.append(chosen)
        stopped |= torch.isin(chosen, stops)
        if stopped.all():
            break
        embeds = model.model.embed_tokens(chosen)[:, None]
        hidden = model.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
    return [_until_stop(row, stops.tolist()) for row in torch.stack(tokens, 1).tolist()]


def _until_stop(row: list[int], stops: list[int]) -> list[int]:
    ends = [i for i, token in enumerate(row) if token in stops]
    return row[: ends[0]] if ends else row


def answer_texts(model: nn.Module, prompts: list[str], limit: int) -> list[str]:
    """Greedy answers to written prompts (special tokens in them are control tokens)."""
    tokenizer = build_tokenizer()
    encoded = [tokenizer.encode(prompt).ids for prompt in prompts]
    by_length: dict[int, list[int]] = {}
    for i, ids in enumerate(encoded):
        by_length.setdefault(len(ids), []).append(i)
    answers = [""] * len(prompts)
    for members in by_length.values():
        embeds = model.model.embed_tokens(torch.tensor([encoded[i] for i in members])).float()
        for i, ids in zip(members, answer_embeds(model, embeds, limit), strict=True):
            answers[i] = tokenizer.decode(ids, skip_special_tokens=False)
    return answers
