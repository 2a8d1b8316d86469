"""From a model's events to the JSON of an answer."""
