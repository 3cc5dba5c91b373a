"""The graph on one or two runtimes: proof at the start, GPU, failover to the CPU."""
