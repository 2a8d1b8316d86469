"""Turns a Phi-4 checkpoint into a folder of ONNX graphs. Runs on the host, without PyTorch."""
