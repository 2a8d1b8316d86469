"""Opens the two files of a model folder that make its prompts: the tokenizer and the chat template."""

from __future__ import annotations

from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME, Bundle
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.tokenizer import Tokenizer


def open_tokenizer(bundle: Bundle) -> Tokenizer:
    """The folder's tokenizer, which knows what the template and the generation loop use as control tokens.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    tokens = bundle.manifest.tokens
    named = (tokens.bos, tokens.pad, tokens.image, tokens.audio, *tokens.eos)
    return Tokenizer(
        bundle.read_text(TOKENIZER_NAME),
        str(bundle.file(TOKENIZER_NAME)),
        template=bundle.read_text(CHAT_TEMPLATE_NAME),
        control_ids={number for number in named if number is not None},
    )


def open_prompts(bundle: Bundle, tokenizer: Tokenizer) -> PromptBuilder:
    """What renders the folder's prompts.

    Raises:
        ArtifactError: The template is missing, damaged, or does not compile.
    """
    manifest, template = bundle.manifest, bundle.read_text(CHAT_TEMPLATE_NAME)
    names = {name.name: name.content for name in manifest.template_names} or None
    return PromptBuilder(tokenizer, template, manifest.tokens, str(bundle.file(CHAT_TEMPLATE_NAME)), names)
