"""The queue at the model, and the threads in which requests are worked on."""
