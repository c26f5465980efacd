"""What the peers of a series are away from their own usual: a running mean of each group. 16 bytes a group.

Who is whose peer belongs to `peers`. Plain Python on one record, compiled as it is.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from ingest_service.columns import Array
from ingest_service.detection.usual import CLIP, SD_OF_MEAN_DEVIATION, whole

MEMBERS = 4  # of a group, that their mean be no matter of one of them
STALE_S = 7200  # after which a group's mean says nothing
GROUP = np.dtype([("middle", np.float32), ("spread", np.float32), ("at_s", np.uint32), ("seen", np.uint32)])


def new_groups(n: int) -> Array:
    return np.zeros(n, GROUP).view(np.recarray)


@register_jitable  # type: ignore[untyped-decorator]
def of_group(group: Any, members: int, at_s: int, away: float) -> float:
    """What the peers of a series are away from their own usual, and what this one adds to it: O(1), and robust, for
    each member's word is cut at CLIP scales. The last two words of each member count.
    """
    if members < MEMBERS:
        return 0.0
    seen = whole(group.seen)
    if seen == 0 or at_s - whole(group.at_s) > STALE_S:
        group.middle = away
        group.spread = 0.0
        group.seen = 0
        seen = 0
    mean, spread = float(group.middle), float(group.spread)
    off = away - mean
    weight = max(1.0 / (seen + 1), 1.0 / (2 * members))
    cut = off
    if seen > members:
        reach = CLIP * max(spread, 1e-9)
        cut = max(-reach, min(reach, off))
    group.middle = mean + weight * cut
    wide = abs(off) * SD_OF_MEAN_DEVIATION
    group.spread = spread + weight * ((min(wide, 2 * CLIP * spread) if seen > members else wide) - spread)
    group.at_s = max(whole(group.at_s), at_s)
    group.seen = min(seen + 1, 1 << 30)
    return mean if seen >= members else 0.0
