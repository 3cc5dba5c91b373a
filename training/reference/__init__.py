"""What is tabulated from a cohort: reference, typical person, and what the interval needs."""
