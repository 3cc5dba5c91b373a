"""What the network is made of: its tables, its matrices and the rules on its weights."""
