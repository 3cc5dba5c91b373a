"""Any file of people to the tables that are scored: text in any shape, one result per row, FHIR."""
