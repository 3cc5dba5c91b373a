"""Tables of any shape to people: one person per row, or one result per row."""
