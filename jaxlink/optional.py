"""Packages that only a part of jaxlink needs."""

from importlib import import_module
from typing import Any

__all__ = ["load"]


def load(package: str, what: str) -> Any:
    """The module of an optional package.

    Arguments:
        package: its name.
        what: what needs it, for the error.

    Raises:
        ImportError: it is not installed, with how to install it.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"{what} needs the package {package}, which is not installed: "
            f"pip install {package}"
        ) from error
