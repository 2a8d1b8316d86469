"""lm-evaluation-harness over a folder of `edgephi export --layout optimum`.

python lm_eval_optimum.py FOLDER TASK[,TASK...] [DIR], where DIR holds YAML files of tasks of your own. Prints JSON.
Needs: pip install optimum-onnx "lm-eval>=0.4.13,<0.5" "datasets>=4,<5" accelerate
"""

from __future__ import annotations

import json
import sys
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer

from lm_eval import simple_evaluate


class Masked(ORTModelForCausalLM):
    """The harness scores without a mask, which the graph asks for."""

    def forward(self, input_ids: Any, attention_mask: Any = None, **others: Any) -> Any:
        """See `ORTModelForCausalLM`."""
        mask = input_ids.new_ones(input_ids.shape) if attention_mask is None else attention_mask
        return super().forward(input_ids, attention_mask=mask, **others)


def main(folder: str, tasks: str, own_tasks: str | None = None) -> None:
    """Evaluate one request at a time, since the graph takes no padding."""
    model, tokenizer = Masked.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    asked = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=1, max_length=4096)
    found = simple_evaluate(
        model=asked,
        tasks=tasks.split(","),
        task_manager=TaskManager(include_path=own_tasks),
        apply_chat_template=True,
    )
    print(json.dumps(found["results"], default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
