"""What led up to an alarm: the last values of its property, read from the observations as long as these are kept.

The detector's own evidence (its value, band and parameters) is stored with the alarm and stays. What stands here is
what a chart shows beside it, so ingest does not carry it along.
"""

from typing import Any

from contracts.profiles import Profile
from platform_api import pieces
from platform_api.models.alarms import Alarm
from platform_api.queries import series
from platform_api.queries.database import Database

VALUES = 20


async def led_up(database: Database, profile: Profile, alarm: Alarm) -> dict[str, Any]:
    """The evidence of an alarm of a device's property, with the last VALUES values up to the finding."""
    evidence = dict(alarm.evidence or {})
    item = profile.properties.get(alarm.property or "")
    given = evidence.get("observed_at") or [alarm.opened_at]
    if alarm.device_id is None or item is None or len(given) > 1:
        return evidence
    until = int(given[-1])
    begin = max(0, until - VALUES * profile.report_period_s * 1000)
    most = 10 * VALUES  # devices that report faster than their profile says
    raw = await series.series_raw(database, profile, [item], alarm.device_id, begin, until + 1, most)
    if len(raw.observed_ms) and raw.observed_ms[-1] == until:
        evidence["observed_at"] = raw.observed_ms[-VALUES:].tolist()
        evidence["values"] = pieces.written(item, raw.values[item.name][-VALUES:])
    return evidence
