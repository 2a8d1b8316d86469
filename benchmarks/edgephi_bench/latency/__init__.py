"""What `edgephi bench MODEL` measures, and its report."""
