"""A model folder as lm-evaluation-harness asks for one. Imported only where the harness is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from numpy.typing import NDArray
from tokenizers import Tokenizer

from edgephi import Model, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi.prompt.chat_template import ChatTemplate

_TEMPLATE = "chat_template.jinja"
_MOST_NEW_TOKENS = 256


class EdgephiLM(TemplateLM):
    """Greedy replies and log-likelihoods by `Model`.

    Args:
        model: Loaded from `folder`; not closed here.
        folder: The model folder.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        super().__init__()
        bundle = Bundle(folder)
        self._model = model
        self._tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._eos = int(bundle.manifest.tokens.eos[0])
        path = folder / _TEMPLATE
        self._template = ChatTemplate(path.read_text(encoding="utf-8"), str(path), {"bos_token": "", "eos_token": ""})
        self._chats: dict[str, list[dict[str, str]]] = {}
        self._last: tuple[tuple[int, ...], NDArray[np.float32]] | None = None

    @property
    def eot_token_id(self) -> int:
        """Ends a text."""
        return self._eos

    @property
    def tokenizer_name(self) -> str:
        """Part of the harness's keys of cached requests."""
        return "edgephi"

    def chat_template(self, chat_template: bool | str = False) -> str:  # noqa: ARG002 - the harness's signature
        """For the harness's record."""
        return self._template.source

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of a chat, which is known again when it comes back as a context."""
        text = self._template.render(chat_history, is_open=add_generation_prompt)
        self._chats[text] = [dict(turn) for turn in chat_history]
        return text

    def tok_encode(self, string: str, **_: Any) -> list[int]:
        """Token ids; control tokens that are spelled in a rendered chat are those tokens."""
        ids: list[int] = self._tokens.encode(string, add_special_tokens=False).ids
        return ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        found = []
        for key, context, continuation in requests:
            rows = self._rows(tuple(context or [self._eos]), tuple(continuation))
            logs = rows - rows.max(-1, keepdims=True)
            logs -= np.log(np.exp(logs).sum(-1, keepdims=True))
            total = float(logs[np.arange(len(continuation)), continuation].sum())
            answer = total, bool((rows.argmax(-1) == continuation).all())
            found.append(answer)
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, answer)
        return found

    def _rows(self, context: tuple[int, ...], continuation: tuple[int, ...]) -> NDArray[np.float32]:
        """float32 [len(continuation), V]. Options of one token each share the pass over their context."""
        ids = (*context, *continuation[:-1])
        if self._last is None or self._last[0] != ids:
            self._last = ids, np.atleast_2d(self._model.logits(ids, rows=len(continuation)))
        return self._last[1][-len(continuation) :]

    def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
        """Of whole texts, each within the context length."""
        whole = [(None, [self._eos], self.tok_encode(request.args[0])) for request in requests]
        return [total for total, _ in self._loglikelihood_tokens(whole)]

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        """Greedy replies, cut before the first stop text."""
        replies = []
        for request in requests:
            context, rules = request.args
            until = [text for text in _listed(rules.get("until")) if text]
            most = int(rules.get("max_gen_toks", _MOST_NEW_TOKENS))
            options = replace(SamplingOptions.greedy(max_new_tokens=most, speculation=False), stop=tuple(until))
            reply = self._model.generate(self._messages(context), options=options).text
            for text in until:
                reply = reply.partition(text)[0]
            replies.append(reply)
            self.cache_hook.add_partial("generate_until", request.args, reply)
        return replies

    def _messages(self, context: str) -> list[dict[str, str]]:
        """The chat of a context; what a task puts behind it is the beginning of the reply."""
        if context in self._chats:
            return self._chats[context]
        known = [text for text in self._chats if context.startswith(text)]
        if not known:
            return [{"role": "user", "content": context}]
        text = max(known, key=len)
        return [*self._chats[text], {"role": "assistant", "content": context[len(text) :]}]


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
