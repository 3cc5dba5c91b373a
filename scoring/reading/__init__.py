"""People of any table, file or object to the graph's inputs, and what looks wrong of them."""
