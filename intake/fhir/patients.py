"""Who an Observation is of: the Patients of FHIR data, by FHIR's rules of references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from henaw.model.errors import ScoringError


class Patient(NamedTuple):
    """What is known of a Patient.

    Attributes:
        name: the id, else what stands for one.
        reference: by which a resource refers to the Patient; None: by nothing but its name.
        address: the ``fullUrl``; None where there is none.
        birth_date: as it is written.
        gender: as it is written.
    """

    name: str
    reference: str | None
    address: str | None
    birth_date: object
    gender: object


class Patients:
    """The Patients so far, and how each can be referred to.

    Attributes:
        known: by name, in the order in which they were first seen.
    """

    def __init__(self) -> None:
        self.known: dict[str, Patient] = {}
        self._by_address: dict[str, str] = {}

    def add(self, resource: Mapping[str, Any], address: str | None, place: str) -> None:
        """Take a Patient.

        Args:
            resource: the Patient.
            address: its ``fullUrl``.
            place: what it is called where it has neither an id nor an address.

        Raises:
            ScoringError: another Patient has its name.
        """
        number = read_text(resource.get("id"))
        reference = address or (f"Patient/{number}" if number else None)
        self._add(resource, number or address or place, reference, address)

    def add_contained(self, resource: Mapping[str, Any], holder: str) -> None:
        """Take a Patient that another resource holds; with an identifier it may be in several."""
        address = f"{holder}#{read_text(resource.get('id')) or ''}"
        identifiers = _list_identifiers(resource)
        known = next((self._by_address[one] for one in identifiers if one in self._by_address), "")
        if known:
            self._by_address[address] = known
            return
        name = read_text(identifiers[0].partition("|")[2]) if identifiers else None
        self._add(resource, name or address, None, address)

    def find(self, reference: str) -> str | None:
        """The name of the Patient to whom :func:`locate` leads; None where there is none.

        Without an address of its own a Patient goes by its id, on whichever server.
        """
        name = self._by_address.get(reference)
        if name is not None:
            return name
        is_absolute = is_web(reference)
        if not is_absolute and not reference.startswith("Patient/"):
            return None
        name = f"/{reference}".rpartition("/Patient/")[2]
        patient = self.known.get(name)
        if patient is None or (is_absolute and is_web(patient.address)):
            return None
        return name

    def _add(
        self,
        resource: Mapping[str, Any],
        name: str,
        reference: str | None,
        address: str | None,
    ) -> None:
        birth_date, gender = resource.get("birthDate"), resource.get("gender")
        patient = Patient(name, reference, address, birth_date, gender)
        known = self.known.setdefault(name, patient)
        moved = is_web(known.address) and is_web(address) and known.address != address
        if moved or (known.birth_date, known.gender) != (birth_date, gender):
            raise ScoringError(
                "FHIR",
                [
                    f"each Patient must be one person; {name!r} is two that differ in birthDate, "
                    "gender or server"
                ],
            )
        for one in (address, *_list_identifiers(resource)):
            if one is not None:
                self._by_address[one] = name


def locate(holder: Mapping[str, Any] | None, base: str | None, scope: str) -> str:
    """Where a Reference leads, written so that those to one resource are one text.

    Args:
        holder: the Reference.
        base: ``fullUrl`` of the resource that has it, to which relative ones belong.
        scope: what the resource is called in which ``#id`` is looked for.

    Returns:
        "" where there is no Reference.

    Example:
        >>> locate({"reference": "Patient/1"}, "https://a.org/fhir/Observation/2", "")
        'https://a.org/fhir/Patient/1'
        >>> locate({"reference": "#p"}, None, "Observation/2")
        'Observation/2#p'
    """
    if not isinstance(holder, Mapping):
        return ""
    reference = holder.get("reference")
    if reference is None:
        identifier = holder.get("identifier")
        return _write_identifier(identifier) if isinstance(identifier, Mapping) else ""
    if not isinstance(reference, str):
        return "no reference"
    if reference.startswith("#"):
        return scope + reference
    if "/_history/" in reference:
        reference = reference.partition("/_history/")[0]
    if base is not None and is_web(base) and ":" not in reference:
        server, _, kind = base.rpartition("/")[0].rpartition("/")
        # Only such as https://a.org/fhir/Observation/1 has a server to belong to.
        if kind.isalpha() and kind[0].isupper():
            return f"{server}/{reference}"
    return reference


def is_web(address: object) -> bool:
    """Whether it is an address of a server."""
    return isinstance(address, str) and address.startswith(("http://", "https://"))


def read_text(value: object) -> str | None:
    """Text that is not empty; None for all else."""
    return value if isinstance(value, str) and value else None


def _list_identifiers(resource: Mapping[str, Any]) -> list[str]:
    identifiers = resource.get("identifier")
    listed = identifiers if isinstance(identifiers, list) else []
    written = [_write_identifier(one) for one in listed if isinstance(one, Mapping)]
    return [one for one in written if one]


def _write_identifier(identifier: Mapping[str, Any]) -> str:
    """System and value, "" where one is missing: a number alone may be of several systems."""
    system, value = read_text(identifier.get("system")), read_text(identifier.get("value"))
    return f"{system}|{value}" if system and value else ""
