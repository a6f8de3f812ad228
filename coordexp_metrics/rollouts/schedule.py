"""Channel-B runs on the steps where the line of slope ``b_ratio`` enters a new whole number.

Step n is Channel-B exactly when floor((n + 1) r) > floor(n r). So any n steps in a row hold
floor(n r) or ceil(n r) Channel-B steps, a resumed run needs no state to go on, and all ranks agree
unasked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

from ..contract.errors import DeclarationError, ObservationError

__all__ = ["BresenhamSchedule"]

_SETTING = "stage2_ab.schedule.b_ratio"


class BresenhamSchedule:
    """Which channel a step runs, and what recent steps did run (``metrics_and_losses.md:261``).

    Args:
        b_ratio: share of Channel-B steps, 0 to 1. A float counts as the decimal that it is written
            as: 0.1 is one tenth. A text such as ``"1/3"`` is exact too.
        window: how many of the last steps the realised share is taken over.

    Raises:
        DeclarationError: the ratio or the window cannot be right.

    >>> schedule = BresenhamSchedule(0.3)
    >>> "".join(schedule.channel(step) for step in range(10))
    'AAABAABAAB'
    >>> schedule.record(False), schedule.record(True)
    ((0, 1), (1, 2))
    """

    def __init__(self, b_ratio: float | str | Fraction, window: int = 200) -> None:
        self.b_ratio = _ratio(b_ratio)
        if not isinstance(window, int) or isinstance(window, bool) or window < 1:
            raise DeclarationError(f"window is {window!r}; it must be a number of steps, 1 or more")
        self.window = window
        self._recent: deque[bool] = deque(maxlen=window)

    def channel(self, step: int) -> Literal["A", "B"]:
        """The channel of an optimizer step, counted from 0.

        Raises:
            ObservationError: the step is negative or no int.
        """
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise ObservationError(_SETTING, "step", step, "must be an int, 0 or more")
        up, down = self.b_ratio.numerator, self.b_ratio.denominator
        return "B" if (step + 1) * up // down > step * up // down else "A"

    def record(self, ran_b: bool) -> tuple[int, int]:
        """Note what one optimizer step ran.

        Returns:
            Channel-B steps and all steps of the rolling window: what
            ``stage2_ab/_channel_b_steps`` and ``stage2_ab/_window_steps`` observe, once a step, on
            one rank or on every rank alike.
        """
        self._recent.append(bool(ran_b))
        return sum(self._recent), len(self._recent)

    def state_dict(self) -> dict[str, Any]:
        """The recent steps, oldest first, as JSON data for a checkpoint."""
        return {"recent": "".join("AB"[ran_b] for ran_b in self._recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; a shorter window keeps the newest steps.

        Raises:
            ObservationError: this is no such state.
        """
        recent = state.get("recent")
        if not isinstance(recent, str) or set(recent) - {"A", "B"}:
            raise ObservationError(_SETTING, "recent", recent, "must be a text of A and B")
        self._recent = deque((channel == "B" for channel in recent), maxlen=self.window)


def _ratio(given: object) -> Fraction:
    try:
        if isinstance(given, bool) or (isinstance(given, str) and "e" in given.lower()):
            raise TypeError("a bool is no share, and an exponent may be endless")
        ratio = given if isinstance(given, Fraction) else Fraction(str(given))
    except (TypeError, ValueError, ZeroDivisionError):
        raise _no_share(given) from None
    if not 0 <= ratio <= 1:
        raise _no_share(given)
    return ratio


def _no_share(given: object) -> DeclarationError:
    return DeclarationError(f"{_SETTING} is {given!r}; it must be a share from 0 to 1")
