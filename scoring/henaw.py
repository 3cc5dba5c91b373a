"""The ONNX file as an object that scores tables."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import pyarrow as pa
from henaw.intake.reference import Reference, read_reference
from henaw.model.biomarkers import NAMES, SEXES
from henaw.model.errors import ScoringError
from henaw.model.layout import Layout
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
from henaw.scoring.answering.person_answer import PersonAnswer, build_answer
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

_BLOCK = 1024
"""People in one run of the graph: what they need fits into the processor's cache."""
_CUDA_BLOCK = 65_536
"""The same on CUDA: launches and copies cost the less the more people share them."""


class Henaw:
    """A model that scores people; safe to share between threads.

    Args:
        content: the ONNX file; None is the shipped model.
        source: what it is called in messages.
        threads: how many blocks of people are scored at once.
        device: auto, cpu, cuda or cuda:N, as :meth:`load` takes it.

    Attributes:
        description: what the file says of itself; what scoring needs of it is parsed.
        content: the file.
        sha256: of it.
        lab: the laboratory whose profile it has; None where it has none.
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
        # Before a runtime opens it: what is damaged may crash one.
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
            path: of the file; None is the shipped model.
            threads: how many blocks of people are scored at once.
            lab: profile of the laboratory that the values come from, or its file of
                ``henaw calibrate``; None takes the file as it is.
            device: cuda or cuda:N needs onnxruntime-gpu; where it cannot be used, the CPU
                answers and a warning is logged. auto is CUDA where it works. Only the CPU
                gives the same answers to the last bit.

        Raises:
            ScoringError: it cannot be read, or is another model.
            ConfigurationError: there is no such device.
            ProfileError: the profile cannot be read, was made for another model, or the
                file has one already.
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
        """How the values of the people that the model was fitted on are distributed."""
        with explain_damage("drift", "calibration"):
            return read_reference(self.description)

    @property
    def device(self) -> str:
        """Where people are scored now: cpu or cuda:N."""
        return self._runtime.device

    @property
    def name(self) -> str:
        """The model's name and version."""
        return f"{self.description['name']} {self.description['version']}"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Biomarkers that are not part of the model: their values are not used."""
        return tuple(name for name in NAMES if name not in self.description["used_biomarkers"])

    @property
    def full_name(self) -> str:
        """The model's name, version and the laboratory whose profile it has."""
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
        """Score a person, a list of them, or a table, of which the same kind comes back.

        Args:
            people: a person is a dict or a pandas Series by the panel's names, ``age`` (years)
                and ``sex``: a number in the panel's unit, a pair such as ``(0.12, "mg/dL")``,
                or None. A table is of pandas, polars, pyarrow or any library that Arrow
                reads, or a NumPy array with field names, or one of numbers with the columns
                age, sex and the panel's. Its columns are named as a person's values, in the
                panel's units, or as those of UK Biobank or NHANES.
            layout: which column of a table is what, where names do not say it.
            outputs: which outputs of the graph, of a table.
            unreliable: "withhold" leaves numbers empty where ``reliable`` is false, "keep"
                does not.
            accept: what is right though it looks wrong, by the names that the error gives, or
                "all": it is then a warning.

        Returns:
            A :class:`PersonAnswer` for a person, a list of them for a list. A table has
            float32 years and probabilities, boolean flags, and two of text: ``withheld``,
            codes of why the numbers are not reliable, separated by ";", and ``reason``, why
            a row was not scored. With a laboratory's profile ``lab`` before them names it.
            pandas keeps its index. What Arrow reads of other libraries becomes a pyarrow
            Table, a NumPy array a structured one with NaN, False and None where there is
            nothing.

        Raises:
            ScoringError: the table has not the columns, or is in other units; or a person's
                names or values cannot be used. In a list and in a table, somebody who cannot
                be scored has a ``reason`` instead. Or values of several people are far
                likelier in another unit, or a column that is not used looks like a biomarker
                that has none.

        Warns:
            InputWarning: what looks wrong of one person, and whatever is not plain of a table:
                biomarkers without a column, limits, words for no value.
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
            raise ScoringError("person", _show_values(summary.reasons, persons[0]))
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
            batch: people.
            layout: which column is what.
            outputs: of the graph, in its order.
            unreliable: "withhold" or "keep", as :meth:`predict` takes it.
            from_results: whether they were put together from results (with a column of the day):
                then the values that were used stand beside the answers.

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
        """The schema of what :meth:`score` returns for people of a schema."""
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
        """What the typical values, each biomarker and each interaction add, one row each.

        Args:
            people: as :meth:`predict` takes them.
            layout: as :meth:`predict`.
            unreliable: as :meth:`predict`.
            accept: as :meth:`predict`.

        Returns:
            The same kind of table, or for dicts a list of dicts: ``row`` of the person from 0,
            ``name``, ``label``, ``unit``, ``value``, ``reference_median`` for that age and sex,
            ``years`` (empty where the numbers are withheld), ``imputed``, ``out_of_range`` and
            ``critical``;
            nothing of people who cannot be scored.

        Raises:
            ScoringError: as :meth:`predict`.
        """
        keep = check_unreliable(unreliable)
        parts = self._explain(self._look_over(people, layout, accept), keep=keep)
        return write_like(people, parts, keep_index=False)

    def find_withheld(self, people: object, *, layout: Layout | None = None) -> list[list[str]]:
        """Why each person's numbers are not reliable and what to do, in sentences.

        Returns:
            For each row a list, empty where the numbers are reliable or the row cannot be
            scored.
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
        """Draw how one person's biological age comes about, as a waterfall.

        Args:
            people: as :meth:`predict` takes them.
            row: which of them, from 0.
            layout: as :meth:`predict`.
            unreliable: "withhold" refuses somebody whose answer is not reliable, "keep" does
                not.
            accept: as :meth:`predict`.

        Raises:
            ScoringError: there is no such row, or it cannot be scored, or its answer is not
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
        """The graph's inputs of a batch; limits are judged by this model's medians."""
        return read_inputs(batch, layout, self.description["reference"])

    def _look_over(self, people: object, layout: Layout | None, accept: Sequence[str]) -> Inputs:
        """The graph's inputs of a table or of people, which are looked over before."""
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
        """The graph's own outputs, for every row, scored or not."""
        return self._runtime.predict(*inputs[:3])

    def find_reasons(self, inputs: Inputs, outputs: Outputs) -> dict[int, list[Reason]]:
        """Why people's numbers are not reliable, by row."""
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
        rows = len(inputs.age)
        columns = AnswerColumns({name: len(self._columns[name]) for name in outputs}, rows)
        size = _BLOCK if self.device == "cpu" else _CUDA_BLOCK

        def run(start: int) -> None:
            block = slice(start, min(start + size, rows))
            columns.put(block, self.run(inputs.select(block)))

        starts = range(0, rows, size)
        if self.threads > 1 and len(starts) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(run, starts))
        else:
            for start in starts:
                run(start)
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


def _show_values(reasons: Iterable[str], person: Mapping[str, Any]) -> list[str]:
    """Each reason with the value it is about, where there is one."""
    values = {reason: person.get(reason.partition(" ")[0]) for reason in reasons}
    return [
        reason if value is None else f"{reason}; got {value!r}" for reason, value in values.items()
    ]
