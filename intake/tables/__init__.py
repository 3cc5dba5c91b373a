"""Tables of any shape to people: a person a row, or a result a row."""
