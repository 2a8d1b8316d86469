"""The measurements of `edgephi bench MODEL`, and their report."""
