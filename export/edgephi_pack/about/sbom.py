"""The bill of materials: CycloneDX 1.6, with every package and the model's card."""

from __future__ import annotations

import json
import uuid
from typing import Any

from edgephi_pack.about.facts import AboutFacts, json_time
from edgephi_pack.app.components import Component

#: Of the random part of serial numbers: equal releases have equal ones.
_NAMESPACE = uuid.UUID("5f2b1a39-6d55-5e0a-9a43-8d9c8b6f7e10")


def sbom(facts: AboutFacts) -> bytes:
    """The document as bytes, the same for the same release."""
    components = () if facts.components is None else facts.components.components
    product = f"{facts.name}@{facts.version}"
    body: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": json_time(facts.created),
            "component": {"bom-ref": product, "type": "device", "name": facts.name, "version": facts.version},
        },
        "components": [_model(facts), *map(_package, components)],
        "dependencies": [
            {"ref": product, "dependsOn": sorted(["model", *(one.purl for one in components)])},
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(body, sort_keys=True))
    return json.dumps(body | {"serialNumber": serial.urn}, indent=1, sort_keys=True).encode() + b"\n"


def _package(component: Component) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bom-ref": component.purl,
        "type": "library",
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "licenses": [{"expression": component.licence}],
    }
    if component.sha256 is not None:
        found["hashes"] = [{"alg": "SHA-256", "content": component.sha256}]
    return found


def _model(facts: AboutFacts) -> dict[str, Any]:
    manifest = facts.manifest
    inputs = [{"format": {"vision": "image", "speech": "audio"}.get(one, one)} for one in manifest.modalities]
    revision = {} if manifest.source.revision is None else {"version": manifest.source.revision}
    return {
        "bom-ref": "model",
        "type": "machine-learning-model",
        "name": manifest.source.id,
        **revision,
        "hashes": [{"alg": "SHA-256", "content": facts.manifest_sha256}],
        "licenses": [{"license": {"name": facts.model_licence_name}}],
        "modelCard": {
            "modelParameters": {
                "architectureFamily": "transformer",
                "modelArchitecture": manifest.source.model_type,
                "inputs": inputs,
                "outputs": [{"format": "text"}],
            },
        },
        "properties": [
            {"name": "edgephi:adapters", "value": manifest.adapters.mode},
            {"name": "edgephi:bytes", "value": str(sum(one.bytes for one in manifest.files))},
            {"name": "edgephi:recipe", "value": manifest.recipe.name},
        ],
    }
