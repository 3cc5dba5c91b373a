"""Any file of people to the tables that are scored: text in any shape, and a result a row."""
