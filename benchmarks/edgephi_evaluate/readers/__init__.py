"""Rows of JSON lines, TSV and Parquet, and items of the neutral form."""
