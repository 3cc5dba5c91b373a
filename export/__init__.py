"""Checkpoint to TorchScript, ONNX and an archive, with proof that they agree."""
