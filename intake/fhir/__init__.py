"""FHIR R4 to people, and their answers to FHIR R4."""
