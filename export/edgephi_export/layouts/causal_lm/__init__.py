"""Shared by the layouts whose runtimes take one graph with the names of transformers."""
