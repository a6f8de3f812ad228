"""The command: exit 0 clean, 1 findings, 2 could not do the job, 130 interrupted."""

from __future__ import annotations

import sys

from ..contract.errors import MetricsError, MissingExtraError

__all__ = ["main"]


def main() -> None:
    """Run ``coordexp-metrics`` with the arguments of the process."""
    try:
        _run()
    except (MetricsError, OSError) as error:
        sys.stderr.write(f"coordexp-metrics: {error}\n")
        sys.exit(2)
    except Exception:  # noqa: BLE001 - a crash must not look like a finding, whose code is 1
        import traceback

        traceback.print_exc()
        sys.exit(2)


def _run() -> None:
    try:
        import typer  # noqa: F401
    except ImportError:
        raise MissingExtraError("cli", "the command line") from None
    from .app import app

    app(prog_name="coordexp-metrics")
