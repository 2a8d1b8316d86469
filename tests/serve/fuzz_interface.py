"""Requests made from /openapi.json by schemathesis, valid and not: each answer must be one that the description allows.

For an interpreter that has schemathesis; test_fuzz.py starts it. Arguments: URL, number of requests, seed. Prints how
many answers had each status, as JSON; ends with 1 at the first answer that the description does not have.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections import Counter

import hypothesis
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

#: Those that hold whatever was sent.
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: Requests between two looks at /health.
PERIOD = 100
#: No answer may take longer, apart from what the machine does beside it.
TIMEOUT_S = 60
#: These take a body; the others are asked a tenth as often.
LIGHT_SHARE = 0.1


class Fuzzer:
    """Counts requests and looks after the server's health."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._seed = seed
        self.statuses: Counter[str] = Counter()

    def fuzz(self, operation: schemathesis.APIOperation, mode: GenerationMode, count: int) -> None:
        """Send so many requests to one address."""
        if mode.is_negative and not operation.body:
            return

        @hypothesis.seed(self._seed)
        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            response = case.call(timeout=TIMEOUT_S)
            self.statuses[f"{operation.label} {response.status_code}"] += 1
            case.validate_response(response, checks=CHECKS)
            if self.statuses.total() % PERIOD == 0:
                self._check_health()

        ask()

    def _check_health(self) -> None:
        with urllib.request.urlopen(f"{self._url}/health", timeout=TIMEOUT_S) as answer:
            assert json.loads(answer.read()) == {"status": "ok"}


def main() -> None:
    url, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    weights = {operation.label: 2.0 if operation.body else LIGHT_SHARE for operation in operations}
    fuzzer = Fuzzer(url, seed)
    for operation in operations:
        share = weights[operation.label] / sum(weights.values()) / (2 if operation.body else 1)
        for mode in GenerationMode:
            fuzzer.fuzz(operation, mode, max(round(count * share), 1))
    print(json.dumps(dict(sorted(fuzzer.statuses.items()))))


main()
