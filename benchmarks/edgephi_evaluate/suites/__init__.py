"""The benchmarks: where their rows lie, their prompts and how replies are judged."""
