"""The bill of materials and the provenance of a release."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime

import pytest

from edgephi.bundle.bundle import Bundle
from edgephi_pack.about.facts import AboutFacts
from edgephi_pack.about.provenance import provenance
from edgephi_pack.about.sbom import sbom
from edgephi_pack.app.components import Component, Components
from edgephi_pack.app.target import Target
from support.bundles import small_bundle


@pytest.fixture(scope="module")
def facts() -> AboutFacts:
    numpy = Component(
        name="numpy", version="2.4.6", purl="pkg:pypi/numpy@2.4.6", sha256="a" * 64, licence="BSD-3-Clause AND MIT",
        licence_files=("numpy/LICENSE",),
    )  # fmt: skip
    with closing(Bundle(small_bundle())) as bundle:
        return AboutFacts(
            name="kiosk",
            version="1.0",
            created=datetime(2026, 9, 21, tzinfo=UTC),
            manifest=bundle.manifest,
            manifest_sha256=bundle.manifest_sha256,
            model_licence="\nMIT License\nmore\n",
            components=Components(target=Target(arch="aarch64", python="3.11"), components=(numpy,)),
        )


def test_the_bill_lists_every_package_by_hash_and_the_model_with_its_card(facts: AboutFacts):
    bill = json.loads(sbom(facts))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    model, numpy = bill["components"]
    assert numpy["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert numpy["licenses"] == [{"expression": "BSD-3-Clause AND MIT"}]
    assert model["type"] == "machine-learning-model"
    assert model["licenses"] == [{"license": {"name": "MIT License"}}]
    assert {one["format"] for one in model["modelCard"]["modelParameters"]["inputs"]} == {"text", "image", "audio"}
    assert {one["bom-ref"] for one in bill["components"]} == set(bill["dependencies"][0]["dependsOn"])
    assert sbom(facts) == sbom(facts)


def test_the_provenance_names_what_the_release_was_made_of(facts: AboutFacts):
    statement = json.loads(provenance(facts))
    assert statement["subject"] == [{"name": "model/edgephi.json", "digest": {"sha256": facts.manifest_sha256}}]
    used = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert used[-1] == {"uri": "pkg:pypi/numpy@2.4.6", "digest": {"sha256": "a" * 64}}
