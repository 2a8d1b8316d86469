"""ONNX Runtime: sessions, mapped weights, memory, runs that can be cancelled."""
