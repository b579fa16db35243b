"""Seeing what JAX compiles."""

from contextlib import contextmanager

import jax

__all__ = ["compilations"]


@contextmanager
def compilations():
    """A list that receives the name of each event inside the context that traces,
    lowers or compiles a program of more than one operation."""
    made = []

    def listen(event, duration, **details):
        if event.startswith("/jax/core/compile/"):
            made.append((event, details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield made
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
