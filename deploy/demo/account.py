"""The account of a demo: what the devices generated against what the database holds, each counted where it is.

Owns the figures' derivation, their sources, the match of injected faults with alarms, and how the account reads. The
counting itself is done by `dure sim account` (the devices' side) and `dure account` (SQL in the database).
"""

from typing import Any

Json = dict[str, Any]
LATE_MS = 20 * 60_000  # an alarm of a fault may open this long after its end: silence is known late, batches wait
EARLY_MS = 60_000
OWN_DETECTOR = (
    "stuck",
    "out_of_range",
    "silent",
    "spike",
    "unchanging",
    "daylight",
    "backwards",
)  # faults that a detector is named after


def quantile_ms(bounds: list[float], counts: list[int], share: float) -> float | None:
    """Upper bound of the bucket that holds the quantile; None when nothing was counted."""
    total = sum(counts)
    passed = 0
    for index, count in enumerate(counts):
        passed += count
        if total and passed >= share * total:
            return bounds[min(index, len(bounds) - 1)]
    return None


def latency(workers: Json, before: dict[str, list[int]]) -> tuple[list[float], list[int]]:
    """Bounds and counts of what was committed since `before`, over all workers."""
    bounds: list[float] = []
    total: list[int] = []
    for name, told in workers.items():
        histogram = (told or {}).get("latency_ms_histogram")
        if not histogram:
            continue
        bounds = histogram["bounds"]
        earlier = before.get(name) or [0] * len(histogram["counts"])
        counts = [now - then for now, then in zip(histogram["counts"], earlier, strict=True)]
        total = [a + b for a, b in zip(total, counts, strict=True)] if total else counts
    return bounds, total


def match_faults(labels: list[Json], alarms: list[Json], clock_ms: int) -> tuple[dict[str, Json], int]:
    """Faults that began by now against alarms, by fault, and how many alarms no fault explains."""
    began = [label for label in labels if label["onset_at"] <= clock_ms]
    explained: set[int] = set()
    found: dict[str, Json] = {}
    for label in began:
        row = found.setdefault(label["fault"], {"injected": 0, "found": 0, "at_work": 0})
        row["injected"] += 1
        mine = [alarm for alarm in alarms if _explains(label, alarm)]
        explained |= {alarm["alarm_id"] for alarm in mine}
        if label["fault"] in OWN_DETECTOR:
            mine = [alarm for alarm in mine if alarm["detector"] == label["fault"]]
        row["found"] += bool(mine)
        row["at_work"] += not mine and label["end_at"] > clock_ms  # a silence is not known before it has lasted
    single = [alarm for alarm in alarms if not alarm.get("group")]  # a group stands for its members, which are here too
    unexplained = sum(alarm["alarm_id"] not in explained for alarm in single)
    return dict(sorted(found.items())), unexplained


def _explains(label: Json, alarm: Json) -> bool:
    return (
        (alarm["municipality"], alarm["device"]) == (label["municipality"], label["device"])
        # whether a lamp burns shows in all that it says, and is told by its power and current
        and (alarm["property"] == label["property"] or "daylight" in (label["fault"], alarm["detector"]))
        and label["onset_at"] - EARLY_MS <= alarm["opened_at"] <= label["end_at"] + LATE_MS
    )


def report(
    *,
    generated: Json,
    counted: Json,
    latency_before: dict[str, list[int]],
    committed_before: int,
    seconds: float,
    labels: list[Json],
    alarms: list[Json],
    drained: bool,
) -> Json:
    """All figures, with the SQL or process behind each under `sources`."""
    bounds, counts = latency(counted["workers"], latency_before)
    faults, unexplained = match_faults(labels, alarms, generated["clock_ms"])
    sql = counted["sql"]
    made = counted["committed"] - committed_before
    return {
        "generated": generated["generated"],
        "committed": counted["committed"],
        "quarantined": counted["quarantined"],
        "duplicates": counted["duplicates"],
        "lost": generated["generated"] - counted["committed"] - counted["quarantined"],
        "committed_twice": counted["committed_twice"],
        "drained": drained,
        "observations_per_s": round(made / seconds, 1) if seconds > 0 else 0.0,
        "latency_p50_ms": quantile_ms(bounds, counts, 0.50),
        "latency_p99_ms": quantile_ms(bounds, counts, 0.99),
        "alarms_opened": counted["alarms_opened"],
        "alarms_by_fault": counted["alarms_by_fault"],
        "faults": faults,
        "alarms_without_fault": unexplained,
        "quarantined_by_reason": counted["quarantined_by_reason"],
        "received": counted["received"],
        "out_of_order": counted["out_of_order"],
        "dropped_by_outboxes": counted["dropped_by_outboxes"],
        "hours_rolled_up": counted["hours_rolled_up"],
        "this_run": {"seconds": round(seconds, 1), "committed": made},
        "sources": {
            "generated": "dure sim account: the simulator's own count of what it numbered for each agent",
            **{name: sql[name] for name in ("committed", "quarantined", "duplicates", "committed_twice")},
            "lost": "generated - committed - quarantined",
            "drained": "every agent ended by itself, which it does when its outbox holds nothing uncommitted",
            "observations_per_s": "committed now less committed (sum of the cursors) when this run began, "
            "over the seconds until every outbox was empty",
            "latency_p50_ms": "dure ingest: histogram, from the driver's hand-over of a batch's oldest observation to "
            "COMMIT, each batch weighted by its observations, of this run; upper bound of the bucket (a quarter apart)",
            "latency_p99_ms": "as latency_p50_ms",
            **{name: sql[name] for name in ("alarms_opened", "alarms_by_fault", "quarantined_by_reason")},
            "faults": "the simulator's labels.json against GET /api/v1/alarms: same device and property, opened "
            "between the fault's onset and shortly after its end, by the detector of that name where there is one; "
            "at_work: not found, and not over",
            **{name: sql[name] for name in ("received", "out_of_order", "dropped_by_outboxes", "hours_rolled_up")},
        },
    }


def good(figures: Json) -> bool:
    """Whether nothing was lost, nothing stored twice, and everything arrived."""
    return figures["lost"] == 0 and figures["committed_twice"] == 0 and bool(figures["drained"])


def text(figures: Json, *, continued_since: str | None) -> str:
    """The account as people read it."""

    def row(name: str, value: object, note: str = "") -> str:
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        return f"  {name:<22}{shown:>14}  {note}".rstrip()

    def listed(found: Json) -> str:
        return ", ".join(f"{name} {count}" for name, count in found.items()) or "none"

    def ms(value: float | None) -> str:
        return "-" if value is None else f"{value:,.0f} ms"

    injected = {
        name: f"{row['found']} of {row['injected']}" + (f" ({row['at_work']} still at work)" if row["at_work"] else "")
        for name, row in figures["faults"].items()
    }
    lines = [
        f"The account, of everything since {continued_since}:" if continued_since else "The account:",
        row("generated", figures["generated"], "counted by the devices"),
        row("committed", figures["committed"], "counted in the database"),
        row("quarantined", figures["quarantined"], listed(figures["quarantined_by_reason"])),
        row("lost", figures["lost"], "generated - committed - quarantined")
        if figures["drained"]
        else row("not arrived", figures["lost"], "the outboxes keep what they hold; the next start sends it"),
        row("committed twice", figures["committed_twice"]),
        row("duplicates dropped", figures["duplicates"]),
        row("observations/s", f"{figures['observations_per_s']:,.0f}", f"over {figures['this_run']['seconds']:,.0f} s"),
        row("latency p50", ms(figures["latency_p50_ms"]), "from the driver's hand-over to COMMIT"),
        row("latency p99", ms(figures["latency_p99_ms"])),
        row("alarms opened", figures["alarms_opened"], listed(figures["alarms_by_fault"])),
    ]
    if injected:
        lines.append(row("faults found", "", listed(injected)))
    return "\n".join(lines)
