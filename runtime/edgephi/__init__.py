"""Phi-4-multimodal and Phi-4-mini on edge devices with ONNX Runtime."""
