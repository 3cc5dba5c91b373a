"""What TorchServe imports and hands over."""
