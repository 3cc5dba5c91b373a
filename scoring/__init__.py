"""Many people at once: tables, FHIR Bundles and Spark, by the ONNX file alone."""
