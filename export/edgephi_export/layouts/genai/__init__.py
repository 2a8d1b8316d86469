"""The folder that onnxruntime-genai loads."""
