"""The graph's outputs as columns of answers, as explanations and as figures."""
