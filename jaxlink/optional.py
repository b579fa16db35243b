"""Packages that only some parts of jaxlink need."""

from importlib import import_module
from typing import Any

__all__ = ["load"]


def load(package: str, what: str) -> Any:
    """Import an optional package.

    Arguments:
        package: the package's name.
        what: the feature that needs it, named in the error.

    Returns:
        The module.

    Raises:
        ImportError: the package is not installed. The message says how to install it.
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
