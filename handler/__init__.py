"""Requests in, answers out: decoding, validation, throttling, inference, errors.

Everything but :mod:`henaw.handler.torchserve_entry` is independent of TorchServe: a
:class:`henaw.handler.service.Service` takes headers and bytes and gives a status,
headers and bytes.
"""
