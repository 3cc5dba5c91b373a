"""The Patients of FHIR data, and the references of other resources to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from henaw.model.errors import ScoringError

LONGEST_NAME = 1_000
"""Characters of a name: the answers and the contained resources repeat it many times."""


class Patient(NamedTuple):
    """A Patient.

    Attributes:
        name: the id, else another name of the Patient.
        reference: by which a resource refers to the Patient; None for a Patient that has only a
            name.
        address: the ``fullUrl``; None without one.
        birth_date: as it is written.
        gender: as it is written.
    """

    name: str
    reference: str | None
    address: str | None
    birth_date: object
    gender: object


class Patients:
    """The Patients read so far, and the references to each.

    Attributes:
        known: by name, in the order in which they were first seen.
    """

    def __init__(self) -> None:
        self.known: dict[str, Patient] = {}
        self._by_address: dict[str, str] = {}

    def add(self, resource: Mapping[str, Any], address: str | None, place: str) -> None:
        """Add a Patient.

        Args:
            resource: the Patient.
            address: its ``fullUrl``.
            place: its name if it has neither an id nor an address.

        Raises:
            ScoringError: another Patient has its name.
        """
        number = read_text(resource.get("id"))
        reference = address or (f"Patient/{number}" if number else None)
        self._add(resource, number or address or place, reference, address)

    def add_contained(self, resource: Mapping[str, Any], holder: str) -> None:
        """Add a contained Patient; those with the same identifier are one Patient."""
        address = f"{holder}#{read_text(resource.get('id')) or ''}"
        identifiers = _list_identifiers(resource)
        known = next((self._by_address[one] for one in identifiers if one in self._by_address), "")
        if known:
            self._by_address[address] = known
            return
        name = read_text(identifiers[0].partition("|")[2]) if identifiers else None
        self._add(resource, name or address, None, address)

    def find(self, reference: str) -> str | None:
        """Find the name of the Patient at a reference of :func:`locate`; None without one.

        A Patient without an address is found by its id, on any server.
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
        check_name(name)
        birth_date, gender = resource.get("birthDate"), resource.get("gender")
        patient = Patient(name, reference, address, birth_date, gender)
        known = self.known.setdefault(name, patient)
        moved = is_web(known.address) and is_web(address) and known.address != address
        if moved or (known.birth_date, known.gender) != (birth_date, gender):
            raise ScoringError(
                "FHIR",
                [
                    f"each Patient must be one person; two named {name!r} differ in birthDate, "
                    "gender or server"
                ],
            )
        for one in (address, *_list_identifiers(resource)):
            if one is not None:
                self._by_address[one] = name


def locate(holder: object, base: str | None, scope: str) -> str:
    """Resolve a Reference, so that all references to one resource give the same text.

    Args:
        holder: the Reference.
        base: ``fullUrl`` of the resource that has it; relative references are relative to it.
        scope: name of the resource that contains the target of ``#id``.

    Returns:
        The text; "" without a Reference, or with one that has only words.

    Example:
        >>> locate({"reference": "Patient/1"}, "https://a.org/fhir/Observation/2", "")
        'https://a.org/fhir/Patient/1'
        >>> locate({"reference": "#p"}, None, "Observation/2")
        'Observation/2#p'
    """
    if holder is None:
        return ""
    if not isinstance(holder, Mapping):
        return "no reference"
    reference = holder.get("reference")
    if reference is None:
        identifier = holder.get("identifier")
        if identifier is None:
            return ""
        written = _write_identifier(identifier) if isinstance(identifier, Mapping) else ""
        return written or "an identifier without a system"
    if not isinstance(reference, str):
        return "no reference"
    if reference.startswith("#"):
        return scope + reference
    if "/_history/" in reference:
        reference = reference.partition("/_history/")[0]
    if base is not None and is_web(base) and ":" not in reference:
        server, _, kind = base.rpartition("/")[0].rpartition("/")
        # Only an address such as https://a.org/fhir/Observation/1 has a server.
        if kind.isalpha() and kind[0].isupper():
            return f"{server}/{reference}"
    return reference


def check_name(name: str) -> None:
    """Check the id or address of a resource.

    Raises:
        ScoringError: it is too long.
    """
    if len(name) > LONGEST_NAME:
        raise ScoringError(
            "FHIR",
            [
                f"an id, identifier or fullUrl must have at most {LONGEST_NAME} characters; got "
                f"{len(name)}, {name[:40]!r}..."
            ],
        )


def is_web(address: object) -> bool:
    """Whether an address is on a server."""
    return isinstance(address, str) and address.startswith(("http://", "https://"))


def read_text(value: object) -> str | None:
    """Return text that is not empty; None for any other value."""
    return value if isinstance(value, str) and value else None


def _list_identifiers(resource: Mapping[str, Any]) -> list[str]:
    identifiers = resource.get("identifier")
    listed = identifiers if isinstance(identifiers, list) else []
    written = [_write_identifier(one) for one in listed if isinstance(one, Mapping)]
    return [one for one in written if one]


def _write_identifier(identifier: Mapping[str, Any]) -> str:
    """System and value; "" if one is missing, because a value alone is not unique."""
    system, value = read_text(identifier.get("system")), read_text(identifier.get("value"))
    return f"{system}|{value}" if system and value else ""
