"""The content of an audio file and its end, found by walking its chunks, pages and frames."""
