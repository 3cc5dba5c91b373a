"""Fitting a checkpoint, and measuring how good it is.

A row of a cohort table takes these steps, each in one room, and never goes back:

1. :mod:`henaw.training.readers` write the table from surveys or a biobank's extract.
2. :mod:`henaw.training.cohorts`: ``read_cohort`` checks the table and keeps the rows that can
   be fitted, as a ``Cohort``.
3. :mod:`henaw.training.requirements`: ``adapt_to_cohort`` refuses a cohort that lacks
   something the configuration needs, and drops causes of death that do not occur.
4. :mod:`henaw.training.reference`: ``fit_reference`` subtracts each survey's shifts and
   tabulates what is usual at each age and sex. From here on the network can compute the row's
   features.
5. :mod:`henaw.training.objective`: ``build_survival_data`` turns the row into features and
   follow-up; ``Objective`` is what is minimised.
6. :mod:`henaw.training.minibatches` start the minimisation for a very large cohort;
   :mod:`henaw.training.solvers` end it, for the fit and for each refit.
7. :mod:`henaw.training.fit` puts these steps in order, and lets ``reference`` tabulate the
   typical person and the interval from the weights found.
8. :mod:`henaw.training.train` measures the fit on surveys held out and writes the checkpoint.

:mod:`henaw.training.search` repeats steps 4 to 7 to choose hyperparameters, and
:mod:`henaw.training.evaluation` reports on a finished checkpoint. ``execution`` (processes,
devices, the cache) and ``configuration`` are below all of them. The import contract in
``pyproject.toml`` holds the order.
"""
