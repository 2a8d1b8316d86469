"""A folder for optimum's ORTModelForCausalLM."""
