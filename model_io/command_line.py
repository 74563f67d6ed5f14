"""What every command's ``main`` shares: tyro parses, errors become one line, exit codes are 0 and 2."""

import inspect
import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from .errors import KiloNeRFError

Options = TypeVar("Options")


def run_command(program: str, options_class: type[Options], run: Callable[[Options], None]) -> None:
    """Parse ``sys.argv`` into ``options_class`` (a dataclass whose comments are the help) and call ``run`` with it.

    Exit codes: 0 good; 2 wrong use or bad input, with one line on standard error; 130 interrupted by the user.
    """
    try:
        run(tyro.cli(options_class, prog=program, description=inspect.getdoc(options_class)))
    except KiloNeRFError as error:
        sys.exit(report(program, error))
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) went away: nothing to say to anyone
        sys.stderr.close()
        sys.exit(0)


def report(program: str, error: KiloNeRFError) -> int:
    """Print ``error`` on one line of standard error; returns the exit code 2."""
    print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
