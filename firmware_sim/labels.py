"""Labels: the ground truth of what is wrong with simulated devices."""

from typing import Literal

import msgspec

Shape = Literal[
    "spike", "stuck", "out_of_range", "silent", "offset", "drift", "noise", "unchanging", "daylight", "backwards",
    "intermittent", "unit_error", "duplicates", "clock_skew",
]  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """One label. severity: sd of the healthy residual (spike, offset, drift at its end, noise), report periods
    (stuck, silent, unchanging, backwards, intermittent, duplicates), share of the range beyond its limit
    (out_of_range; below zero: under the lower limit), hours (daylight; below zero: dark at night), what values are
    multiplied by (unit_error), seconds that the clock is ahead (clock_skew; below zero: behind). circuit: where the
    whole of it has this fault.
    """

    municipality: str
    device: str
    property: str | None
    fault: Shape
    onset_at: int
    end_at: int
    severity: float
    circuit: str = ""
