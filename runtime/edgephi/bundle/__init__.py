"""The model folder on disk: its manifest, tensors and checksums, read strictly."""
