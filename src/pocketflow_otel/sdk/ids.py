"""Ids of spans and traces that leave the program's random numbers alone."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class PrivateIdGenerator(IdGenerator):
    """Random ids that leave Python's global `random` alone.

    The SDK's default draws from it, which changes what a seeded program does, and gives equal ids
    to processes with equal seeds. The operating system's generator also survives a fork.
    """

    _random: Final = random.SystemRandom()

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64) or self.generate_span_id()

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128) or self.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Return `True`: all bits are random, as W3C Trace Context level 2 asks."""
        return True


def use_private_ids(provider: TracerProvider) -> None:
    """Replace the default id generator of a provider; one that somebody chose stays."""
    if type(provider.id_generator) is RandomIdGenerator:
        provider.id_generator = PrivateIdGenerator()  # type: ignore[assignment]  # declared by its default
        for tracer in getattr(provider, "_tracers", {}).values():  # Each has a reference of its own.
            tracer.id_generator = provider.id_generator
