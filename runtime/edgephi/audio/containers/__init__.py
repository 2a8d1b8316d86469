"""What is inside a sound file and where it ends, found by walking its chunks, pages and frames."""
