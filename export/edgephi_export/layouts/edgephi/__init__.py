"""The folder that this project's own runtime loads."""
