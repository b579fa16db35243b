"""Loops."""

from jaxlink.dispatch.scan import loops as loops
