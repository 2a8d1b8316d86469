"""Example requests with their answers, and the ranges of keys and values that an int8 KV cache needs."""
