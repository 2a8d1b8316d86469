"""From messages to the decoder's input: chat template, token ids, which adapter serves, input embeddings."""
