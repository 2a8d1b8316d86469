"""An HTTP server for one model folder that OpenAI's clients can talk to."""
