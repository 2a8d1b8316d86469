"""How good a model folder is: public benchmarks with their prompts and metrics, on data that lies on this machine."""
