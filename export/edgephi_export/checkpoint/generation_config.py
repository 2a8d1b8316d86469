"""Reads how generation_config.json recommends to choose tokens, with the defaults that transformers gives it."""

from __future__ import annotations

import json
from pathlib import Path

from edgephi.base.errors import ArtifactError
from edgephi.bundle.manifest import GenerationDefaults
from edgephi_export.checkpoint.json_fields import Fields

_NAME = "generation_config.json"
#: transformers' own, 4.57 and 5.24, where the file does not say.
_TOP_K = 50
#: Recommendations that edgephi does not follow, with the values at which they do nothing.
_NOT_APPLIED: dict[str, tuple[object, ...]] = {
    "typical_p": (1,), "epsilon_cutoff": (0,), "eta_cutoff": (0,), "top_h": (), "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,), "encoder_repetition_penalty": (1,), "bad_words_ids": ([],),
    "force_words_ids": ([],), "num_beams": (1,), "num_beam_groups": (1,), "diversity_penalty": (0,),
    "penalty_alpha": (0,), "dola_layers": (), "suppress_tokens": ([],), "begin_suppress_tokens": ([],),
    "forced_bos_token_id": (), "forced_eos_token_id": (), "sequence_bias": ({}, []), "guidance_scale": (1,),
    "exponential_decay_length_penalty": (), "watermarking_config": (), "min_length": (0,), "min_new_tokens": (0,),
    "max_new_tokens": (), "stop_strings": ([],), "token_healing": (False,), "presence_penalty": (0,),
    "frequency_penalty": (0,),
}  # fmt: skip
#: Those that count only where tokens are drawn.
_DRAWING = frozenset(("typical_p", "epsilon_cutoff", "eta_cutoff", "top_h"))
_MOST_SHOWN = 60


def read_generation(folder: Path, config: Fields) -> GenerationDefaults:
    """Sampling that generation_config.json recommends; greedy unless it says do_sample.

    Args:
        folder: The checkpoint.
        config: config.json, which serves where the other file is missing, as in transformers.

    Raises:
        ArtifactError: The file is damaged or a value is wrong.
    """
    stated = Fields.load(folder / _NAME) if (folder / _NAME).is_file() else config
    draws = stated.get("do_sample", bool, False)
    try:
        return GenerationDefaults(
            temperature=stated.get("temperature", float, 1.0) if draws else 0.0,
            top_k=_top_k(stated) if draws else 0,
            top_p=stated.get("top_p", float, 1.0) if draws else 1.0,
            min_p=stated.get("min_p", float, 0.0) if draws else 0.0,
            repetition_penalty=stated.get("repetition_penalty", float, 1.0),
            not_applied=tuple(_not_applied(stated, draws)),
        )
    except ValueError as error:
        raise ArtifactError(f"{stated.where}: {error}") from error


def _top_k(stated: Fields) -> int:
    """A null that transformers 4 wrote means all tokens; to transformers 5 it is as good as absent."""
    by_release_4 = str(stated.values.get("transformers_version", "")).startswith("4.")
    is_null = "top_k" in stated.values and stated.values["top_k"] is None
    return stated.get("top_k", int, 0 if is_null and by_release_4 else _TOP_K)


def _not_applied(stated: Fields, draws: bool) -> list[str]:
    found = []
    for key, neutral in _NOT_APPLIED.items():
        value = stated.values.get(key)
        if value is not None and value not in neutral and (draws or key not in _DRAWING):
            shown = json.dumps(value)
            found.append(f"{key} {shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + '...'}")
    return found
