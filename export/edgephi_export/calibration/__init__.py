"""Ranges of keys and values, measured on sample requests, for an int8 KV cache."""
