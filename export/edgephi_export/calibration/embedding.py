"""Examples as the decoder reads them: prompts with their answers, and the encoders' rows of their media."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from edgephi.base.errors import ConfigError
from edgephi.bundle.bundle import Bundle
from edgephi.cache.context_limit import ContextLimit
from edgephi.cache.kv_cache import cache_shape
from edgephi.generation.control import RequestControl
from edgephi.model_options import ModelOptions
from edgephi.prefill import Prefill
from edgephi.prompt.prompt_files import open_prompts
from edgephi.prompt.routing import available_routes
from edgephi_export.calibration.examples import Example
from edgephi_export.calibration.sequences import forced_after, spelled_ids
from edgephi_export.layer_walk.sequences import CalibrationSequence


def embedded(folder: Path, examples: Sequence[Example], threads: int) -> Iterator[CalibrationSequence]:
    """The sequences of all examples that a model folder can serve, by its own encoders; its decoder is not loaded.

    Args:
        folder: The model folder.
        examples: What a model is calibrated on.
        threads: Threads of the encoders.

    Raises:
        ConfigError: The folder can serve none of them.
        CapacityError: One is longer than the context.
        ArtifactError: The folder is damaged.
    """
    with closing(Bundle(folder)) as bundle:
        modes = {route.mode for route in available_routes(bundle.manifest)}
        served = [example for example in examples if example.mode in modes]
        if not served:
            raise ConfigError(
                f"no calibration example is {' or '.join(sorted(modes))}, which this export serves; add some"
            )
        prompts, options = open_prompts(bundle), ModelOptions(threads=threads)
        limit = ContextLimit(cache_shape(bundle.manifest, None, "float"), bundle.manifest.rope)
        with closing(Prefill(bundle, options, prompts)) as prefill:
            for example in served:
                control = RequestControl()
                prompt = prefill.prompt(example.request, control.timer)
                answer = spelled_ids(prompts.tokenizer, example.answer or "")
                ready = prefill.prepare(forced_after(prompt, answer).prompt, limit, control)
                ready.encode(0)
                length, token_ids = len(ready.sequence), ready.sequence.token_ids.copy()
                for span in ready.sequence.spans:
                    token_ids[span.start : span.start + span.length] = -1
                yield CalibrationSequence(
                    adapter=ready.route.adapter,
                    rows=ready.sequence.rows(0, length)[0],
                    group=example.group,
                    token_ids=token_ids,
                    answer_start=length - len(answer) - 1,
                )
