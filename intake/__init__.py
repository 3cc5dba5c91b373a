"""Any file of people to the tables that are scored: text in any shape, a result a row, FHIR."""
