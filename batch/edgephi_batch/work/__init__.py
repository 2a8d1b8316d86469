"""One item: its request, its time limit, its row."""
