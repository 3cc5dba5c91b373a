"""Evaluation of a checkpoint on a cohort: the figures, the report page, the model card."""
