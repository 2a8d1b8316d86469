"""The language model: input embeddings to logits, one forward pass after another."""
