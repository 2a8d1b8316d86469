"""A tokenizer holds megabytes, so the files of prompts are read once."""

from __future__ import annotations

import pytest

from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME, Bundle
from edgephi.prompt.prompt_files import open_prompts
from support.bundles import small_bundle


def test_each_file_is_read_once(monkeypatch: pytest.MonkeyPatch):
    names: list[str] = []
    read = Bundle.read_text

    def counted(bundle: Bundle, name: str) -> str:
        names.append(name)
        return read(bundle, name)

    monkeypatch.setattr(Bundle, "read_text", counted)
    bundle = Bundle(small_bundle())
    prompts = open_prompts(bundle)
    assert sorted(names) == sorted([CHAT_TEMPLATE_NAME, TOKENIZER_NAME])
    assert prompts.tokenizer.encode(["hello"])
    bundle.close()
