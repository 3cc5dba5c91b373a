"""An evaluation as a page, its figures, and the model card."""
