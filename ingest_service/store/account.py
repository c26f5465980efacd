"""The account of the store: every figure counted in the database, each with the SQL that counted it."""

from collections.abc import Mapping
from typing import Any

from contracts.profiles import Profile
from ingest_service.store.connection import Connection


def statements(profiles: Mapping[str, Profile]) -> dict[str, str]:
    """SQL of each figure."""
    rows = " UNION ALL ".join(f"SELECT device_id, observed_at FROM observation_{kind}" for kind in profiles)
    counts = " UNION ALL ".join(f"SELECT count(*) AS n FROM observation_{kind}" for kind in profiles)
    hours = " UNION ALL ".join(
        f"SELECT count(*) AS n FROM rollup_hour_{kind}" for kind, item in profiles.items() if "hour" in item.rollups
    )
    return {
        "committed": f"SELECT coalesce(sum(n), 0) FROM ({counts}) t",
        "committed_twice": f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM ({rows}) o "
        "GROUP BY device_id, observed_at HAVING count(*) > 1) t",
        "quarantined": "SELECT (SELECT coalesce(sum(observations), 0) FROM quarantine WHERE admitted_at IS NULL) "
        "+ (SELECT coalesce(sum(observations), 0) FROM quarantine_refused)",
        "received": "SELECT coalesce(sum(received), 0) FROM cursor",
        "duplicates": "SELECT coalesce(sum(duplicate), 0) FROM cursor",
        "out_of_order": "SELECT coalesce(sum(out_of_order), 0) FROM cursor",
        "dropped_by_outboxes": "SELECT coalesce(sum(lost), 0) FROM cursor",
        "alarms_opened": "SELECT count(*) FROM alarm",
        "hours_rolled_up": f"SELECT coalesce(sum(n), 0) FROM ({hours}) t",
    }


BY_FAULT = "SELECT split_part(condition, ':', 1), count(*) FROM alarm GROUP BY 1 ORDER BY 1"
BY_REASON = (
    "SELECT reason, sum(observations) FROM (SELECT reason, observations FROM quarantine WHERE admitted_at IS NULL "
    "UNION ALL SELECT reason, observations FROM quarantine_refused) t GROUP BY 1 ORDER BY 1"
)
WORKERS = "SELECT worker, counters FROM ingest_worker"


def account(connection: Connection, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """All figures, and under `sql` the statement behind each."""
    sql = statements(profiles)
    figures: dict[str, Any] = {
        name: int(str((connection.execute(text.encode()).fetchone() or (0,))[0])) for name, text in sql.items()
    }
    figures["alarms_by_fault"] = {str(row[0]): int(row[1]) for row in connection.execute(BY_FAULT.encode())}
    figures["quarantined_by_reason"] = {str(row[0]): int(row[1]) for row in connection.execute(BY_REASON.encode())}
    figures["workers"] = {str(row[0]): row[1] for row in connection.execute(WORKERS.encode())}
    figures["sql"] = {**sql, "alarms_by_fault": BY_FAULT, "quarantined_by_reason": BY_REASON, "workers": WORKERS}
    return figures
