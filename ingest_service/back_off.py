"""How long to wait before the next attempt at what failed."""

import math

FIRST_S, LONGEST_S = 0.2, 5.0


def next_retry_s(failures: int, jitter: float) -> float:
    """Seconds after so many failures in a row (>= 1), doubling up to LONGEST_S, spread by half around it.

    jitter : 0 <= jitter < 1, a random number: those that failed together do not come back together.
    """
    steps = min(max(0, failures - 1), 30)  # bounded before the power: the failures of a long outage would overflow it
    return min(LONGEST_S, math.ldexp(FIRST_S, steps)) * (0.5 + jitter)
