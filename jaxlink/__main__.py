"""``python -m jaxlink inspect FILE``: what an exported function takes and returns."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxlink.errors import ExportError
from jaxlink.exports.manifest import unpack


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Arguments:
        argv: the arguments; ``None`` takes them from the command line.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m jaxlink")
    commands = parser.add_subparsers(required=True)
    inspect = commands.add_parser("inspect", help="print what an exported function is")
    inspect.add_argument("file", type=Path, help="the bytes that jaxlink.export wrote")
    inspect.add_argument("--json", action="store_true", help="print it all as JSON")
    options = parser.parse_args(argv)
    try:
        manifest, _, _ = unpack(options.file.read_bytes())
    except (ExportError, OSError) as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(manifest.to_json(), indent=1) if options.json else manifest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
