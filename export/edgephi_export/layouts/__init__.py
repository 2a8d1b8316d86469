"""The folders that an export can write, one room for each layout."""
