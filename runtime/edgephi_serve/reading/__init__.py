"""From the JSON of a request to what a model is asked."""
