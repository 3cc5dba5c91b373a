"""Who sent a request, and what it costs them: one token, and more for many people or bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from henaw.handler.contract.dialects import Dialect
from henaw.handler.errors import ThrottledError, TooLargeError, locate_error
from henaw.handler.exchange import Exchange
from henaw.handler.throttle.throttle import Admission, Throttle

_BYTES_PER_PERSON: Final = 1024
"""Bytes of a body that cost as much as one person."""

_ANSWER_BYTES_PER_PERSON: Final = 3_000
"""Bytes of an answer that cost as much; a person's usual answer has less than half of them."""

_EXPLANATION_WEIGHT: Final = 3
_PATIENT_WEIGHT: Final = 24
_WEIGHTS: Final = {Dialect.FHIR: _PATIENT_WEIGHT, Dialect.CDS_HOOKS: _PATIENT_WEIGHT}
"""Predictions that take as long as one explanation, or as one Patient (measured)."""


class Cashier:
    """Identifies clients, and takes tokens from their buckets.

    Args:
        throttle: has the buckets.
    """

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle

    def identify(self, exchange: Exchange) -> None:
        """Find out who sent a request."""
        exchange.client = self._throttle.identify(exchange.request.headers)

    def admit(self, exchanges: Sequence[Exchange]) -> list[Exchange]:
        """Take one token for each request, and return the requests that had one."""
        try:
            admissions = self._throttle.admit_all([exchange.client for exchange in exchanges])
        # A bug: the throttle answers by itself where its store fails.
        except Exception as error:
            for exchange in exchanges:
                exchange.error = locate_error(error)
            return []
        for exchange, admission in zip(exchanges, admissions, strict=True):
            exchange.paid = 1.0
            exchange.attempt(partial(_settle, admission))
        return [exchange for exchange in exchanges if exchange.is_open]

    def charge_bytes(self, exchange: Exchange) -> None:
        """Charge for the body, before it is decoded.

        Raises:
            TooLargeError: the client could never pay so much at once.
            ThrottledError: the client cannot pay it now.
        """
        self._charge(exchange, len(exchange.request.body) / _BYTES_PER_PERSON)

    def charge_people(self, exchange: Exchange, people: int, dialect: Dialect) -> None:
        """Charge for people, before they are validated.

        Args:
            exchange: with the request that they are in.
            people: how many.
            dialect: the format of the body.

        Raises:
            TooLargeError: the client could never pay so much at once.
            ThrottledError: the client cannot pay it now.
        """
        weight = _EXPLANATION_WEIGHT if exchange.request.explain else _WEIGHTS.get(dialect, 1)
        self._charge(exchange, people * weight)

    def charge_answer(self, exchange: Exchange, size: int) -> None:
        """Charge for an answer, before it is written; at most a full bucket.

        What was paid before is not given back, because the graph was evaluated for it.

        Args:
            exchange: with the request that is answered.
            size: the answer's largest size, bytes.

        Raises:
            ThrottledError: the client cannot pay it now.
        """
        most = self._throttle.find_most_people(exchange.client)
        self._charge(exchange, min(size / _ANSWER_BYTES_PER_PERSON, most), gives_back=False)

    def _charge(self, exchange: Exchange, people: float, *, gives_back: bool = True) -> None:
        """Charge the client for these people, less what it has already paid for this request."""
        most = self._throttle.find_most_people(exchange.client)
        if people > most:
            raise TooLargeError(
                f"This client's rate allows at most {most:.0f} people per request; this request "
                f"counts as {people:.0f}. A person with an explanation counts as "
                f"{_EXPLANATION_WEIGHT}, a FHIR Patient as {_PATIENT_WEIGHT}, and each "
                f"{_BYTES_PER_PERSON} bytes of the body as 1."
            )
        cost = self._throttle.find_cost(people)
        if cost > exchange.paid:
            spent = exchange.paid
            admission = self._throttle.admit(
                exchange.client, cost - spent, spent=spent, gives_back=gives_back
            )
            _settle(admission, exchange)
            exchange.paid = cost


def _settle(admission: Admission, exchange: Exchange) -> None:
    exchange.headers = admission.write_headers()
    if not admission.allowed:
        exchange.throttled = exchange.client.kind
        raise ThrottledError(
            f"This client may send at most {admission.bucket.rate} requests in "
            f"{admission.bucket.period_s:g} s. Retry after {admission.retry_after_s} s."
        )
