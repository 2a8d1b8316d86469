"""Record what transformers renders of the tests' chat templates: `python tests/reference/record_renderings.py`.

Needs transformers, and no PyTorch. `make reference` fails while the committed file differs from what it would write.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.templates import CONVERSATIONS, NAMES, RENDERINGS, TEMPLATES, TOOLS


def renderings() -> dict[str, str | None]:
    """By `TEMPLATE/CONVERSATION`; None where transformers fails."""
    return {f"{template}/{name}": _rendered(template, name) for template in TEMPLATES for name in CONVERSATIONS}


def _rendered(template: str, name: str) -> str | None:
    turns, has_tools = CONVERSATIONS[name]
    goes_on = turns[-1]["role"] == "assistant"
    try:
        return str(
            render_jinja_template(
                [turns],
                tools=TOOLS if has_tools else None,
                chat_template=TEMPLATES[template],
                add_generation_prompt=not goes_on,
                continue_final_message=goes_on,
                **NAMES,
            )[0][0]
        )
    except Exception:  # whatever the template's expressions raise
        return None


if __name__ == "__main__":
    RENDERINGS.write_text(json.dumps(renderings(), indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
