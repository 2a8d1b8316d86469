"""Plain text as token ids, by the tokenizer of a model folder and without loading the model."""

from __future__ import annotations

from tokenizers import Tokenizer

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import TOKENIZER_NAME, Bundle


def text_tokens(bundle: Bundle, text: str) -> list[int]:
    """The ids of a text in which no control token is spelled.

    Raises:
        ArtifactError: The folder's tokenizer is damaged.
    """
    path = bundle.file(TOKENIZER_NAME)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ArtifactError(f"{path}: cannot be read ({error}); export the model again") from error
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
