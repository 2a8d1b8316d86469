"""Inputs: folders, JSON Lines and parquet, here or on any filesystem that pyarrow knows."""
