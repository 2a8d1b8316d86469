"""What can be said of a model folder and a machine without a request: diagnosis, checks, memory."""
