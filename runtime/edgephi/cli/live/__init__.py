"""The audio that `edgephi captions` reads while it comes, and the lines that it writes."""
