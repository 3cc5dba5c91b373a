"""Where a fit runs and what it keeps: processes, devices, memory and the cache."""
