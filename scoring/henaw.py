"""The ONNX file as an object that scores people."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import pyarrow as pa
from henaw.intake.reference import Reference, read_reference
from henaw.intake.tables.layout import Layout
from henaw.model.biomarkers import NAMES, SEXES
from henaw.model.errors import ScoringError
from henaw.model.profile import LabProfile, read_profile, set_profile
from henaw.model.reliability import Reason, find_reasons
from henaw.model.runtime import OUTPUT_NAMES, Outputs
from henaw.model.shipped import ONNX_FILE, find_shipped
from henaw.scoring.answering.columns import (
    WITHHOLD,
    AnswerColumns,
    check_outputs,
    check_unreliable,
    list_columns,
    make_schema,
)
from henaw.scoring.answering.explanation import tabulate_parts
from henaw.scoring.answering.person_answer import PersonAnswer, build_answer, show_values
from henaw.scoring.answering.summary import Summary, summarise
from henaw.scoring.answering.used_values import USED, refuse_empty, tell_used
from henaw.scoring.description import (
    explain_damage,
    open_model,
    read_description,
    read_lab,
    require_content,
    require_sidecar,
)
from henaw.scoring.reading.frames import read_frame, write_like
from henaw.scoring.reading.inputs import NOTES, REASONS, Inputs, count_bits, read_inputs
from henaw.scoring.reading.preflight import look_over, question
from henaw.scoring.reading.records import find_people, is_one

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Frame = TypeVar("Frame")


class Henaw:
    """A model that scores people; threads may share it.

    Args:
        content: the bytes of the ONNX file; None is the shipped model.
        source: the file's name in messages.
        threads: number of blocks of people that are scored in parallel.
        device: auto, cpu, cuda or cuda:N, as :meth:`load` takes it.

    Attributes:
        description: the properties of the file; those that scoring needs are parsed.
        content: the bytes of the file.
        sha256: their SHA-256.
        lab: the laboratory whose profile it contains; None if it contains none.

    Raises:
        ScoringError: the file is damaged, or is no ONNX file of this version of ``henaw export``.
        ConfigurationError: there is no such device.

    Example:
        >>> model = Henaw()
        >>> answer = model.predict({"age": 54, "sex": "female", "crp": 1.2, "albumin": 45})
        >>> answer.interval[0] < answer.biological_age < answer.interval[1]
        True
    """

    def __init__(
        self,
        content: bytes | None = None,
        *,
        source: str = "model",
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        if content is None:
            content = find_shipped(ONNX_FILE).read_bytes()
        self.content = content
        self.source = source
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.threads = threads
        # Before a runtime opens the file: a damaged one may crash it.
        self.description = read_description(content, source)
        self.lab = read_lab(self.description, source)
        require_content(content, self.description, source)
        self._runtime = open_model(content, source, device=device)
        self._columns = list_columns(
            self.description["contribution_names"], self.description["cause_names"]
        )

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        threads: int = 1,
        lab: str | Path | LabProfile | None = None,
        device: str = "cpu",
    ) -> Henaw:
        """Read an ONNX file of ``henaw export``.

        Args:
            path: the file; None is the shipped model.
            threads: number of blocks of people that are scored in parallel.
            lab: profile of the laboratory that measured the values, or its file of
                ``henaw calibrate``; None takes the ONNX file as it is.
            device: auto, cpu, cuda or cuda:N. CUDA needs onnxruntime-gpu; if it cannot be used,
                the CPU answers and a warning is logged, unless auto was given. Only the CPU
                gives the same answers to the last bit.

        Raises:
            ScoringError: the file cannot be read, or is another model.
            ConfigurationError: there is no such device.
            ProfileError: the profile cannot be read or was made for another model, or the
                file contains one already.
        """
        try:
            path = find_shipped(ONNX_FILE) if path is None else Path(path)
            content = path.read_bytes()
        except OSError as error:
            raise ScoringError(
                str(path), [f"the ONNX file cannot be read: {error.strerror}"]
            ) from error
        if lab is not None:
            profile = lab if isinstance(lab, LabProfile) else read_profile(Path(lab))
            content = set_profile(content, profile)
        model = cls(content, source=str(path), threads=threads, device=device)
        require_sidecar(path, model.description)
        return model

    def __repr__(self) -> str:
        return f"<Henaw: {self.full_name} on {self.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the file, not the session, which belongs to its process."""
        return _reopen, (self.content, self.source, self.threads, self.device)

    @functools.cached_property
    def fitted_people(self) -> Reference:
        """The distribution of the values of the people that the model was fitted on."""
        with explain_damage("drift", "calibration"):
            return read_reference(self.description)

    @property
    def device(self) -> str:
        """The device that scores now: cpu or cuda:N."""
        return self._runtime.device

    @property
    def name(self) -> str:
        """The model's name and version."""
        return f"{self.description['name']} {self.description['version']}"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Biomarkers that the model does not use."""
        return tuple(name for name in NAMES if name not in self.description["used_biomarkers"])

    @property
    def full_name(self) -> str:
        """The model's name, version and laboratory, if it contains a profile."""
        return self.name if self.lab is None else f"{self.name} with the profile of {self.lab}"

    @overload
    def predict(
        self,
        people: Mapping[str, Any],
        *,
        unreliable: str = WITHHOLD,
        accept: Sequence[str] = (),
    ) -> PersonAnswer: ...
    @overload
    def predict(
        self,
        people: Sequence[Mapping[str, Any]],
        *,
        unreliable: str = WITHHOLD,
        accept: Sequence[str] = (),
    ) -> list[PersonAnswer]: ...
    @overload
    def predict(
        self,
        people: Frame,
        *,
        layout: Layout | None = None,
        outputs: Sequence[str] = OUTPUT_NAMES,
        unreliable: str = WITHHOLD,
        accept: Sequence[str] = (),
    ) -> Frame: ...
    def predict(
        self,
        people: Any,
        *,
        layout: Layout | None = None,
        outputs: Sequence[str] = OUTPUT_NAMES,
        unreliable: str = WITHHOLD,
        accept: Sequence[str] = (),
    ) -> Any:
        """Score one person, a list of people, or a table.

        Args:
            people: a person is a dict or a pandas Series with ``age`` (years), ``sex`` and
                biomarkers by name: a number in the panel's unit, a pair such as
                ``(0.12, "mg/dL")``, or None. A table is of pandas, polars, pyarrow or another
                library that Arrow reads, a NumPy array with field names, or one of numbers
                with the columns age, sex and the panel's biomarkers. Its columns have the same
                names and units as a person's values, or the names of UK Biobank or NHANES.
            layout: the meaning of each column of a table; None: as the names say.
            outputs: names of the model's outputs, for a table.
            unreliable: "withhold" leaves the numbers of unreliable answers empty, "keep"
                returns them.
            accept: names of findings to accept, as the error message gives them, or "all"; an
                accepted finding becomes a warning.

        Returns:
            A :class:`PersonAnswer` for a person, a list of them for a list. For a table, a
            table of the same kind: years and probabilities in float32, boolean flags, and text
            columns: ``lab`` if the model contains a laboratory's profile, ``withheld`` (codes
            of why the numbers are not reliable, separated by ";") and ``reason`` (why the row
            was not scored). A pandas index is kept. Tables of other libraries become a pyarrow
            Table; a NumPy array becomes a structured one with NaN, False and None for missing
            answers.

        Raises:
            ScoringError: a column is missing; names, types or units are wrong; the values of
                several people are much more likely to be in another unit; or an unused column
                looks like a biomarker that has no column. A single person who cannot be scored is
                also an error; in a list or a table that person has a ``reason`` instead.

        Warns:
            InputWarning: a value of one person looks wrong; or a table has biomarkers without a
                column, limits such as "<5", or words for a missing value.

        Example:
            >>> import pandas as pd
            >>> people = [[54, 0, 1.2, 36, 75, 45, 29, 13.1, 22, 24, 20]]
            >>> table = pd.DataFrame(people, columns=["age", "sex", *NAMES])
            >>> Henaw().predict(table, outputs=["age_gap"]).columns.tolist()
            ['age_gap', 'withheld', 'reason']
        """
        outputs = check_outputs(outputs)
        keep = check_unreliable(unreliable)
        inputs = self._look_over(people, layout, accept)
        answers, summary = self._answer(inputs, outputs, keep=keep)
        persons = find_people(people)
        if persons is None:
            return write_like(people, answers)
        if outputs != OUTPUT_NAMES:
            raise ScoringError("outputs", ["outputs is for a table: a person's answer has all"])
        if not is_one(people):
            return self._write_people(inputs, answers)
        if summary.reasons:
            raise ScoringError("person", show_values(summary.reasons, persons[0]))
        return self._write_people(inputs, answers)[0]

    def score(
        self,
        batch: pa.RecordBatch,
        layout: Layout,
        outputs: Sequence[str],
        *,
        unreliable: str = WITHHOLD,
        from_results: bool = False,
    ) -> tuple[pa.RecordBatch, Summary]:
        """Score a batch: answers beside their identifiers, and counts of what happened.

        Args:
            batch: one row per person.
            layout: the meaning of each column.
            outputs: names of the model's outputs, in its order.
            unreliable: "withhold" or "keep", as :meth:`predict` takes it.
            from_results: whether rows were built from results and have a column of the day;
                the used values then stand beside the answers.

        Returns:
            A batch of :meth:`make_schema`, and its counts.
        """
        inputs = self.read(batch, layout)
        beside = []
        if layout.participant_id is not None:
            beside.append(batch.column(layout.participant_id))
        if from_results:
            inputs = refuse_empty(inputs, batch)
            beside += tell_used(inputs, batch)
        answers, summary = self._answer(inputs, outputs, keep=check_unreliable(unreliable))
        schema = self.make_schema(layout, outputs, batch.schema, from_results=from_results)
        return pa.RecordBatch.from_arrays([*beside, *answers.columns], schema=schema), summary

    def make_schema(
        self,
        layout: Layout,
        outputs: Sequence[str],
        people: pa.Schema,
        *,
        from_results: bool = False,
    ) -> pa.Schema:
        """Return the schema of the answers of :meth:`score` to people of a schema."""
        fields = []
        if layout.participant_id is not None:
            fields.append(pa.field("participant_id", people.field(layout.participant_id).type))
        if from_results:
            fields += USED
        return pa.schema([*fields, *make_schema(self._columns, outputs, lab=self.lab)])

    def explain(
        self,
        people: Any,
        *,
        layout: Layout | None = None,
        unreliable: str = WITHHOLD,
        accept: Sequence[str] = (),
    ) -> Any:
        """List what the typical values, each biomarker and each interaction add to the age.

        Args:
            people: as :meth:`predict` takes them.
            layout: as :meth:`predict`.
            unreliable: as :meth:`predict`.
            accept: as :meth:`predict`.

        Returns:
            The same kind of table, or for dicts a list of dicts, with one row for each person
            who can be scored and each part: ``row`` (the person's, from 0), ``name``,
            ``label``, ``unit``, ``value``, ``reference_median`` (of that age and sex),
            ``years`` (empty if withheld), ``imputed``, ``out_of_range`` and ``critical``.

        Raises:
            ScoringError: as :meth:`predict`.

        Example:
            >>> parts = Henaw().explain({"age": 54, "sex": "female", "crp": 1.2, "albumin": 45})
            >>> [part["label"] for part in parts if part["value"] is not None]
            ['C-reactive protein', 'Albumin']
        """
        keep = check_unreliable(unreliable)
        parts = self._explain(self._look_over(people, layout, accept), keep=keep)
        return write_like(people, parts, keep_index=False)

    def find_withheld(self, people: object, *, layout: Layout | None = None) -> list[list[str]]:
        """Say why each person's numbers are not reliable and what to do.

        Args:
            people: a table, as :meth:`predict` takes it.
            layout: as :meth:`predict`.

        Returns:
            A list of sentences for each row, empty if its numbers are reliable or it cannot be
            scored.

        Raises:
            ScoringError: the table cannot be used.
        """
        batch, layout, _ = read_frame(people, layout)
        inputs = self.read(batch, layout)
        reasons = self._describe_withheld(inputs, self.run(inputs))
        good = inputs.reasons == 0
        return [
            reasons.get(row, []) if is_good else [] for row, is_good in enumerate(good.tolist())
        ]

    def plot(
        self,
        people: object,
        *,
        row: int = 0,
        layout: Layout | None = None,
        unreliable: str = WITHHOLD,
        accept: Sequence[str] = (),
    ) -> Figure:
        """Draw the steps from one person's age to the biological age as a waterfall.

        Args:
            people: as :meth:`predict` takes them.
            row: number of the person, from 0.
            layout: as :meth:`predict`.
            unreliable: "withhold" refuses an answer that is not reliable, "keep" draws it.
            accept: as :meth:`predict`.

        Returns:
            A figure of matplotlib; ``savefig`` writes it to a file.

        Raises:
            ScoringError: there is no such row, it cannot be scored, or its answer is not
                reliable.
            RuntimeUnavailableError: matplotlib is not installed.
        """
        from henaw.scoring.answering.plot import draw_waterfall

        keep = check_unreliable(unreliable)
        everybody = self._look_over(people, layout, accept)
        rows = len(everybody.age)
        if not 0 <= row < rows:
            raise ScoringError("plot", [f"row must be 0 to {rows - 1}; got {row}"])
        inputs = everybody.select(slice(row, row + 1))
        answers, summary = self._answer(inputs, OUTPUT_NAMES, keep=keep)
        problems = list(summary.reasons)
        if summary.unreliable and not keep:
            problems += self._describe_withheld(inputs, self.run(inputs))[0]
        if problems:
            raise ScoringError(f"row {row}", problems)
        return draw_waterfall(
            answers.to_pylist()[0],
            self._explain(inputs, keep=keep).to_pylist(),
            age=float(inputs.age[0]),
            sex=SEXES[inputs.sex[0]],
        )

    def read(self, batch: pa.RecordBatch, layout: Layout) -> Inputs:
        """Return the graph's inputs of a batch; the model's medians decide on limits such as <5."""
        return read_inputs(batch, layout, self.description["reference"])

    def _look_over(self, people: object, layout: Layout | None, accept: Sequence[str]) -> Inputs:
        """The graph's inputs of a table or of people, after a check of their values."""
        batch, layout, names = read_frame(people, layout)
        inputs = self.read(batch, layout)
        question(
            look_over(self, [(batch, inputs)], layout, names, is_brief=True),
            inputs,
            accept,
            is_table=find_people(people) is None,
            is_one=is_one(people),
        )
        return inputs

    def _write_people(self, inputs: Inputs, answers: pa.RecordBatch) -> list[PersonAnswer]:
        withheld = self._describe_withheld(inputs, self.run(inputs))
        return [
            build_answer(
                row,
                age=float(inputs.age[place]),
                sex=SEXES[inputs.sex[place]] if inputs.sex[place] >= 0 else None,
                contribution_names=self.description["contribution_names"],
                cause_names=self.description["cause_names"],
                withheld=[] if row["reason"] else withheld.get(place, []),
                model=self.full_name,
            )
            for place, row in enumerate(answers.to_pylist())
        ]

    def run(self, inputs: Inputs) -> Outputs:
        """Return the graph's outputs for every row, also for rows that cannot be scored."""
        return self._runtime.predict(inputs.biomarkers, inputs.age, inputs.sex)

    def find_reasons(self, inputs: Inputs, outputs: Outputs) -> dict[int, list[Reason]]:
        """Return why people's numbers are not reliable, by row."""
        low, high = self.description["fitted_ages"]
        return find_reasons(
            outputs,
            inputs.biomarkers,
            inputs.age,
            critical_limits=self.description["critical_limits"],
            fitted_ages=(low, high),
        )

    def _describe_withheld(self, inputs: Inputs, outputs: Outputs) -> dict[int, list[str]]:
        reasons = self.find_reasons(inputs, outputs)
        return {row: [reason.message for reason in found] for row, found in reasons.items()}

    def _answer(
        self, inputs: Inputs, outputs: Sequence[str], *, keep: bool
    ) -> tuple[pa.RecordBatch, Summary]:
        columns = AnswerColumns(
            {name: len(self._columns[name]) for name in outputs}, len(inputs.age)
        )
        columns.fill(lambda block: self.run(inputs.select(block)), self.device, self.threads)
        scored = inputs.reasons == 0
        summary = summarise(
            inputs.biomarkers,
            scored=scored,
            flagged=columns.flagged,
            codes=columns.codes,
            device=self.device,
            reasons=count_bits(inputs.reasons, REASONS),
            notes=count_bits(inputs.notes[scored], NOTES),
        )
        schema = make_schema(self._columns, outputs, lab=self.lab)
        return columns.to_arrow(schema, inputs.reasons, keep=keep, lab=self.lab), summary

    def _explain(self, inputs: Inputs, *, keep: bool) -> pa.RecordBatch:
        rows = np.flatnonzero(inputs.reasons == 0)
        inputs = inputs.select(rows)
        return tabulate_parts(rows, inputs, self.run(inputs), self.description, keep=keep)


def _reopen(content: bytes, source: str, threads: int, device: str) -> Henaw:
    return Henaw(content, source=source, threads=threads, device=device)
