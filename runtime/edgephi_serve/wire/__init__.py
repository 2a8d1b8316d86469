"""The JSON of requests and answers as structs, and nothing else."""
