"""The ONNX graphs: decoder, encoders, adapters."""
