"""What an operator sees: metrics, drift, logs, worker states, readiness, a shadow's answers."""
