"""With keys and values in int8 the bundled checkpoint must still hear, see and answer, nearly as with floats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.cache.kv_cache import KVCache
from edgephi.inspection.samples import Sample, read_samples
from edgephi_export import ExportOptions, export
from edgephi_export.calibration.examples import read_examples
from edgephi_export.calibration.sequences import SequenceBuilder
from edgephi_export.fidelity.divergence import divergence
from edgephi_nano.make_examples import KINDS, write_examples
from support.prompts import build_prompt

NANO = Path(__file__).parents[2] / "nano"
SAMPLES = NANO / "samples"
_ALL = read_samples(SAMPLES)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Model, Model]]:
    """One folder twice: with float caches and with int8 ones."""
    folder = export(NANO / "checkpoint", tmp_path_factory.mktemp("nano") / "m", ExportOptions(kv_cache="int8"))
    with Model.load(folder, kv_cache="float") as float_, Model.load(folder) as int8:
        yield float_, int8


def _media(sample: Sample) -> dict[str, list[str]]:
    return {
        "images": [str(SAMPLES / sample.image)] if sample.image else [],
        "audio": [str(SAMPLES / sample.audio)] if sample.audio else [],
    }


@pytest.mark.parametrize("sample", _ALL, ids=lambda sample: sample.title)
def test_every_bundled_sample_is_answered_right_and_the_same_with_drafts(pair: tuple[Model, Model], sample: Sample):
    replies = [
        pair[1].generate(sample.messages(), options=SamplingOptions(speculation=is_drafted), **_media(sample))
        for is_drafted in (False, True)
    ]
    assert sample.is_right(replies[0])
    assert replies[1].token_ids == replies[0].token_ids


@pytest.mark.parametrize("sample", _ALL, ids=lambda sample: sample.title)
def test_keys_values_and_logits_are_close_to_those_of_floats(pair: tuple[Model, Model], sample: Sample):
    """In decibels: the codes of 7 bits give some 35, and attention averages. The samples are not calibrated with."""
    float_, int8 = pair
    prompt = build_prompt(float_._prefill._prompts, sample.messages(), **_media(sample))
    media = {"images": prompt.images, "audio": prompt.audio}
    wanted, found = (model.logits(prompt.token_ids, rows="all", **media) for model in pair)
    rows = 10 * np.log10((wanted**2).sum(-1) / ((wanted - found) ** 2).sum(-1))
    assert np.median(rows) > 33
    assert rows[-1] > 25
    assert rows.min() > 15
    cosines = (wanted * found).sum(-1) / np.linalg.norm(wanted, axis=-1) / np.linalg.norm(found, axis=-1)
    assert cosines.min() > 0.99

    caches: list[dict[str, np.ndarray]] = []

    def keep(cache: KVCache) -> None:
        caches.append({name: buffer[0, :, : cache.used].copy() for name, buffer in cache.buffers.items()})

    for model in pair:
        model.visit_cache(sample.messages(), keep, **_media(sample))
    info = int8.manifest.decoder.int8_cache
    assert info is not None
    for layer in range(int8.manifest.decoder.num_layers):
        for kind, ref in (("key", info.key_scales), ("value", info.value_scales)):
            name = f"past_key_values.{layer}.{kind}"
            decoded = caches[1][name] * int8._bundle.tensor(ref)[layer][:, None]
            noise = ((caches[0][name] - decoded) ** 2).sum()
            assert 10 * np.log10((caches[0][name] ** 2).sum() / noise) > 20


@pytest.mark.slow
def test_an_int8_cache_loses_no_more_at_4_000_positions_than_at_the_first(
    pair: tuple[Model, Model], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Tool calls one after the other: far from what nano was trained on, so that its distributions are flat.

    Prints the mean KL of each 500 positions to floats.
    """
    calls = tuple(chosen for chosen in KINDS["heldout"] if chosen.name == "tool calls")
    write_examples(tmp_path, calls, 40)
    builder, ids = SequenceBuilder(pair[0]._bundle.path), list[int]()
    for example in read_examples(tmp_path):
        answer = builder.answer_ids(example.answer or "")
        ids += [*builder.forced(pair[0], example, answer).prompt.token_ids, pair[0].manifest.tokens.eos[0]]
    wanted, found = (model.logits(np.array(ids[:4000]), rows="all") for model in pair)
    kl = np.array(divergence(wanted[:-1], found[:-1], ids[1:4000]).kl)
    parts = [float(part.mean()) for part in np.array_split(kl, 8)]
    with capsys.disabled():
        print("\n" + " ".join(f"{part:.4f}" for part in parts))
    assert max(parts) < 0.03
    assert max(parts[4:]) < 4 * max(parts[:2])
