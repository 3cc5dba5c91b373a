"""The graph's outputs to columns of answers, explanations and figures."""
