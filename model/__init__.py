"""The HENAW network, its panel, its checkpoint and the runtimes that evaluate it."""
