"""Scans and loops."""

from jaxlink.dispatch.scan import loops as loops
