"""Long recordings to text: windows cut at pauses, one request to the model for each, a guard against loops."""
