"""The graph's outputs to answers, in the form that the request came in."""
