"""What is known of each biomarker, and how its names and units are spelled."""
