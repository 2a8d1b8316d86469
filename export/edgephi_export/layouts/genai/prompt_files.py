"""Tokenizer, chat template and catalogue entry of a folder for onnxruntime-genai, from those of the checkpoint."""

from __future__ import annotations

import json

from edgephi.base.errors import ArtifactError
from edgephi.bundle.bundle import TOKENIZER_NAME
from edgephi_export.checkpoint.checkpoint import Checkpoint
from edgephi_export.checkpoint.json_fields import Fields
from edgephi_export.layouts.genai.slots import AUDIO_SLOT, IMAGE_SLOT

TOKENIZER_CONFIG, CATALOGUE_ENTRY = "tokenizer_config.json", "inference_model.json"
#: What any tokenizer.json fits; without this key the library finds no chat template.
_TOKENIZER_CLASS = "PreTrainedTokenizerFast"
#: The library puts these in place of `<|image_1|>` and `<|audio_1|>`, and looks for their ids.
_SLOT_TEXTS = {IMAGE_SLOT: "<|endoftext10|>", AUDIO_SLOT: "<|endoftext11|>"}
#: Before the checkpoint's own template, which puts contents together as text: a content that is a list of parts becomes
#: text with a tag for each image and audio, numbered through the conversation. Foundry Local sends such lists.
_PARTS_AS_TEXT = (
    "{%- set ns = namespace(messages=[], image=0, audio=0, text='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is string or message['content'] is none -%}"
    "{%- set ns.messages = ns.messages + [message] -%}"
    "{%- else -%}"
    "{%- set ns.text = '' -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] in ['image', 'image_url', 'input_image'] -%}"
    "{%- set ns.image = ns.image + 1 -%}"
    "{%- set ns.text = ns.text + '<|image_' + ns.image|string + '|>' -%}"
    "{%- elif part['type'] in ['audio', 'audio_url', 'input_audio'] -%}"
    "{%- set ns.audio = ns.audio + 1 -%}"
    "{%- set ns.text = ns.text + '<|audio_' + ns.audio|string + '|>' -%}"
    "{%- else -%}"
    "{%- set ns.text = ns.text + part['text'] -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if 'tools' in message -%}"
    "{%- set ns.messages = ns.messages + "
    "[{'role': message['role'], 'content': ns.text, 'tools': message['tools']}] -%}"
    "{%- else -%}"
    "{%- set ns.messages = ns.messages + [{'role': message['role'], 'content': ns.text}] -%}"
    "{%- endif -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- set messages = ns.messages -%}"
)


def template_of_parts(template: str) -> str:
    """The checkpoint's chat template, for contents that are lists of parts too."""
    return _PARTS_AS_TEXT + template


def tokenizer_config(checkpoint: Checkpoint) -> str:
    """The checkpoint's own tokenizer_config.json, if it has one, without a chat template.

    The library takes a template in here for better than chat_template.jinja, which holds the one that counts.

    Raises:
        ArtifactError: It is damaged.
    """
    path = checkpoint.path / TOKENIZER_CONFIG
    values = dict(Fields.load(path).values) if path.is_file() else {}
    values.pop("chat_template", None)
    values.setdefault("tokenizer_class", _TOKENIZER_CLASS)
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def catalogue_entry(name: str, recipe: str) -> str:
    """The text of inference_model.json, by which Foundry Local finds a folder and uses its chat template."""
    entry = {"Name": f"{name.lower()}-{recipe}:0", "PromptTemplate": None}
    return json.dumps(entry, indent=1, ensure_ascii=False) + "\n"


def tokenizer_with_slots(checkpoint: Checkpoint) -> str | None:
    """The text of tokenizer.json with the ids that the library knows for slots; None where they are those already.

    Raises:
        ArtifactError: The checkpoint spells a slot in another way than the library.
    """
    tokens, path = checkpoint.config.tokens, checkpoint.path / TOKENIZER_NAME
    slots = {own: slot for own, slot in ((tokens.image, IMAGE_SLOT), (tokens.audio, AUDIO_SLOT)) if own is not None}
    tokenizer = dict(Fields.load(path).values)
    for token in tokenizer["added_tokens"]:
        slot = slots.get(token["id"])
        if slot is None:
            continue
        if token["content"] != _SLOT_TEXTS[slot]:
            raise ArtifactError(
                f"{path}: token {token['id']}, for media, is {token['content']!r}; onnxruntime-genai knows only "
                f"{_SLOT_TEXTS[slot]!r}: use --layout edgephi"
            )
        token["id"] = slot
    return None if all(own == slot for own, slot in slots.items()) else json.dumps(tokenizer, ensure_ascii=False)
