"""The held-out sets of the bundled checkpoint, which `make accuracy` writes as items."""

from __future__ import annotations

from edgephi_evaluate.suites.own import items_suite

#: nano's own limit of a reply.
_TOKENS = 64

SUITES = (
    items_suite("nano-speech", "wer-raw", "nano: speech, known voices", max_new_tokens=_TOKENS),
    items_suite("nano-speech-unseen", "wer-raw", "nano: speech, unseen voices", max_new_tokens=_TOKENS),
    items_suite("nano-speech-off", "wer-raw", "nano: speech, adapter off", adapter="none", max_new_tokens=_TOKENS),
    items_suite("nano-images", "exact", "nano: images", max_new_tokens=_TOKENS),
    items_suite("nano-images-off", "exact", "nano: images, adapter off", adapter="none", max_new_tokens=_TOKENS),
    items_suite("nano-calls", "exact", "nano: tool calls", max_new_tokens=_TOKENS),
    items_suite("nano-spoken", "exact", "nano: spoken questions, known voices", max_new_tokens=_TOKENS),
    items_suite("nano-spoken-unseen", "exact", "nano: spoken questions, unseen voices", max_new_tokens=_TOKENS),
    items_suite("nano-noise", "wer-raw", "nano: speech in noise", max_new_tokens=_TOKENS),
    items_suite("nano-accents", "wer-raw", "nano: strange voices", max_new_tokens=_TOKENS),
    items_suite("nano-small-type", "exact", "nano: small type", max_new_tokens=_TOKENS),
    items_suite("nano-copying", "wer-raw", "nano: long copying", max_new_tokens=_TOKENS),
)
