"""How close an exported folder is to its checkpoint."""
