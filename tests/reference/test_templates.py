"""The recorded renderings are what transformers gives."""

from __future__ import annotations

import json

import pytest

from reference.record_renderings import renderings
from support.templates import RENDERINGS

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("default")]


def test_the_recorded_renderings_are_transformers_own():
    assert renderings() == json.loads(RENDERINGS.read_text(encoding="utf-8"))
