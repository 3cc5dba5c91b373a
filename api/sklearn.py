"""Biological age as features of a scikit-learn pipeline.

from henaw.sklearn import HenawTransformer

pipeline = make_pipeline(HenawTransformer(), SimpleImputer(), LogisticRegression())
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from henaw.intake.tables.layout import Layout
from henaw.model.distribution import suggest_install
from henaw.model.errors import RuntimeUnavailableError
from henaw.scoring.answering.columns import LAB, REASON, WITHHELD, WITHHOLD
from henaw.scoring.henaw import Henaw
from henaw.scoring.reading.frames import read_frame

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise RuntimeUnavailableError(
        f"henaw.sklearn needs scikit-learn 1.6 or later: {suggest_install('sklearn')}"
    ) from error


# scikit-learn has no types, and calls its table X.
class HenawTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn a table of people into columns of answers.

    ``fit`` opens the model and checks the columns; it learns nothing.

    Args:
        model: an ONNX file of ``henaw export``, or a :class:`Henaw`, such as one with a
            laboratory's profile; None is the shipped model.
        outputs: names of the model's outputs; each becomes one or more columns.
        unreliable: "withhold" gives NaN if an answer is not reliable, "keep" its numbers.
        layout: the meaning of each column; None: as the names say.
        accept: names of findings to accept, as :meth:`Henaw.predict` takes them.

    Attributes:
        model_: the opened model.
        n_features_in_: number of columns of the table.
        feature_names_in_: their names, if the table has names.

    Example:
        >>> import pandas as pd
        >>> from henaw.model.biomarkers import NAMES
        >>> values = [
        ...     [54, 0, 1.2, 36, 75, 45, 29, 13.1, 22, 24, 20],
        ...     [61, 1, 3.0, 40, 84, 42, 26, 14.0, 31, 25, 28],
        ... ]
        >>> people = pd.DataFrame(values, columns=["age", "sex", *NAMES])
        >>> transformer = HenawTransformer(outputs=["age_gap", "interval"]).fit(people)
        >>> transformer.get_feature_names_out().tolist()
        ['age_gap', 'interval_low', 'interval_high']
        >>> transformer.transform(people).shape
        (2, 3)
    """

    def __init__(
        self,
        model: str | Path | Henaw | None = None,
        *,
        outputs: Sequence[str] = ("biological_age", "age_gap", "mortality_10y"),
        unreliable: str = WITHHOLD,
        layout: Layout | None = None,
        accept: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.outputs = outputs
        self.unreliable = unreliable
        self.layout = layout
        self.accept = accept

    def fit(self, X: Any, y: object = None) -> HenawTransformer:  # noqa: N803
        """Open the model and check that it can score such a table.

        Args:
            X: a table with names, or an array with the columns age, sex and the panel's
                biomarkers, as :meth:`Henaw.predict` takes them.
            y: not used.

        Returns:
            The transformer itself.

        Raises:
            ScoringError: the columns, the outputs or the model cannot be used.
        """
        X = self._check(X, reset=True)  # noqa: N806
        self.model_ = self.model if isinstance(self.model, Henaw) else Henaw.load(self.model)
        batch, layout, _ = read_frame(X, self.layout)
        self._names = self._answer(batch.slice(0, 0), layout).schema.names
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:  # noqa: N803
        """Score everyone: years, probabilities, and 0 or 1 for flags.

        Args:
            X: a table with the columns that :meth:`fit` saw.

        Returns:
            (n, k) float32, NaN where a person cannot be scored or an answer is withheld; after
            ``set_output`` a table of pandas or polars.

        Raises:
            ScoringError: the table cannot be used.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)  # noqa: N806
        batch, layout, _ = read_frame(X, self.layout)
        answers = self._answer(batch, layout)
        columns = np.empty((answers.num_rows, len(self._names)), np.float32)
        for place, column in enumerate(answers.columns):
            columns[:, place] = column.cast(pa.float32()).to_numpy(zero_copy_only=False)
        return columns

    def get_feature_names_out(
        self,
        input_features: Any = None,
    ) -> npt.NDArray[np.object_]:
        """Return the names of the columns of answers; ``input_features`` is not used."""
        check_is_fitted(self)
        return np.array(self._names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check(self, X: Any, *, reset: bool) -> Any:  # noqa: N803
        """Check names and number of columns, and the values of an array without names."""
        has_names = hasattr(X, "columns") or hasattr(X, "__arrow_c_stream__")
        has_names = has_names or getattr(getattr(X, "dtype", None), "names", None) is not None
        return validate_data(
            self, X, reset=reset, skip_check_array=has_names, ensure_all_finite=False
        )

    def _answer(self, batch: pa.RecordBatch, layout: Layout) -> pa.RecordBatch:
        answers: pa.RecordBatch = self.model_.predict(
            batch,
            layout=layout,
            outputs=self.outputs,
            unreliable=self.unreliable,
            accept=self.accept,
        )
        text = {LAB, WITHHELD, REASON}
        return answers.select([name for name in answers.schema.names if name not in text])
