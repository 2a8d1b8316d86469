"""Reports as tables, charts, text and a page."""
