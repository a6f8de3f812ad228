"""Fixtures of the reducers; under ``TRITON_INTERPRET=1`` all of them read through the kernels."""

import inspect

from hypothesis import Phase, settings

from tests.reducers.cases import INTERPRETED, place

__all__ = ["place"]


def read_through_kernels():
    """``backend="triton"`` by default, in tiles so small that a small vocabulary has many."""
    from coordexp_metrics.reducers import LogitsReducer
    from coordexp_metrics.reducers.kernels import launch, program

    names = list(inspect.signature(LogitsReducer.__init__).parameters)
    defaults = list(LogitsReducer.__init__.__defaults__)
    defaults[names.index("backend") - len(names)] = "triton"
    LogitsReducer.__init__.__defaults__ = tuple(defaults)
    launch.PARTS, launch.ROWS, launch.BLOCK, launch.ROWS_COUNTED = 1, 16, 1024, 32
    program.LANES = 64


if INTERPRETED:
    # A failure is told as it was found: to shrink it would take minutes.
    settings.register_profile("interpreted", phases=[Phase.explicit, Phase.generate])
    settings.load_profile("interpreted")
    read_through_kernels()
