"""The search for hyperparameters by nested cross-validation."""
