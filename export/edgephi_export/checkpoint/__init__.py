"""A checkpoint on disk: its configuration and its tensors, checked, whatever its layout."""
