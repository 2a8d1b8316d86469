"""Opens the two files of a model folder that make its prompts: the tokenizer and the chat template."""

from __future__ import annotations

from edgephi.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME, Bundle, reading
from edgephi.prompt import PromptBuilder
from edgephi.tokenizer import Tokenizer


def open_tokenizer(bundle: Bundle) -> Tokenizer:
    """The folder's tokenizer, which knows what the template and the generation loop use as control tokens.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    tokens = bundle.manifest.tokens
    named = (tokens.bos, tokens.pad, tokens.image, tokens.audio, *tokens.eos)
    return Tokenizer.load(
        bundle.file(TOKENIZER_NAME),
        template=_template(bundle),
        control_ids={number for number in named if number is not None},
    )


def open_prompts(bundle: Bundle, tokenizer: Tokenizer) -> PromptBuilder:
    """What renders the folder's prompts.

    Raises:
        ArtifactError: The template is missing, damaged, or does not compile.
    """
    manifest = bundle.manifest
    names = {name.name: name.content for name in manifest.template_names} or None
    return PromptBuilder(tokenizer, _template(bundle), manifest.tokens, str(bundle.file(CHAT_TEMPLATE_NAME)), names)


def _template(bundle: Bundle) -> str:
    path = bundle.file(CHAT_TEMPLATE_NAME)
    with reading(path):
        return path.read_text(encoding="utf-8")
