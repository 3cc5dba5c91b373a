"""Jobs on whole files: scoring, change between draws, comparison of models, check of a file."""
