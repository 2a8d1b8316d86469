"""How a release was made: an in-toto statement with SLSA's provenance, whose subject is the model and the wheels."""

from __future__ import annotations

import json
from typing import Any

from edgephi.base.version import package_version
from edgephi_pack.about.facts import AboutFacts, json_time


def provenance(facts: AboutFacts) -> bytes:
    """The statement as bytes; the release's signature covers it."""
    manifest, parts = facts.manifest, facts.components
    wheels: list[dict[str, Any]] = [
        {"uri": one.purl, "digest": {"sha256": one.sha256}}
        for one in (() if parts is None else parts.components)
        if one.sha256 is not None
    ]
    source: dict[str, Any] = {"uri": manifest.source.id, "digest": {"sha256": manifest.source.config_sha256}}
    target = None if parts is None else {"arch": parts.target.arch, "python": parts.target.python}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model/edgephi.json", "digest": {"sha256": facts.manifest_sha256}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:edgephi:pack:1",
                "externalParameters": {"name": facts.name, "version": facts.version, "target": target},
                "resolvedDependencies": [source, *wheels],
            },
            "runDetails": {
                "builder": {"id": "urn:edgephi:pack", "version": {"edgephi": package_version()}},
                "metadata": {"startedOn": json_time(facts.created)},
            },
        },
    }
    return json.dumps(statement, indent=1, sort_keys=True).encode() + b"\n"
