"""Keys and values of sequences: the KV cache, the prefix cache, prefixes saved to files."""
