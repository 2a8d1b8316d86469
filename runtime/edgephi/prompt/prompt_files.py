"""Opens the two files of a model folder that make its prompts: the tokenizer and the chat template."""

from __future__ import annotations

from edgephi.bundle.bundle import CHAT_TEMPLATE_NAME, TOKENIZER_NAME, Bundle
from edgephi.prompt.prompt import PromptBuilder
from edgephi.prompt.tokenizer import Tokenizer


def open_prompts(bundle: Bundle) -> PromptBuilder:
    """The renderer of the folder's prompts, with its tokenizer.

    The tokenizer takes the tokens that the template and the generation loop use for control tokens.

    Raises:
        ArtifactError: A file is missing or damaged, or the template does not compile.
    """
    manifest, tokens = bundle.manifest, bundle.manifest.tokens
    named = (tokens.bos, tokens.pad, tokens.image, tokens.audio, *tokens.eos)
    vocabulary, template = bundle.read_text(TOKENIZER_NAME), bundle.read_text(CHAT_TEMPLATE_NAME)
    tokenizer = Tokenizer(
        vocabulary,
        str(bundle.file(TOKENIZER_NAME)),
        template=template,
        control_ids={number for number in named if number is not None},
    )
    names = {name.name: name.content for name in manifest.template_names} or None
    return PromptBuilder(tokenizer, template, tokens, str(bundle.file(CHAT_TEMPLATE_NAME)), names)
