"""Findings become changes of alarms: a condition of a device begins or ends.

One open alarm per device and condition is the database's promise (a unique key); this module says what to ask of it.
"""

from itertools import groupby
from typing import Any

import msgspec

from contracts.profiles import Profile, Property
from ingest_service.detection.findings import Finding
from ingest_service.detection.fleet import Fleet
from ingest_service.registry import Agent, Registry

SEVERITY = {"info": 1, "warning": 2, "critical": 3}


class Change(msgspec.Struct, frozen=True):
    """An alarm to open (`begins`) or to clear."""

    municipality: str
    device_id: int | None
    agent_id: int | None  # of an alarm of an agent
    kind: str | None
    condition: str
    detector: str
    property: str | None
    severity: int
    begins: bool
    at_ms: int
    evidence: dict[str, Any]

    def key(self) -> tuple[str, str]:
        """What the alarm is of, as the table says it (`subject`), and the condition."""
        subject = f"device {self.device_id}" if self.device_id is not None else f"agent {self.agent_id or 0}"
        return subject, self.condition


def changes(findings: list[Finding], fleet: Fleet, registry: Registry, profiles: dict[str, Profile]) -> list[Change]:
    """Changes in the order found; silences that a sweep found together, in the order of their time.

    A sweep goes by slot, and how many it finds at once depends on the flush: by their time, the devices of an agent are
    in the same order however flushes are cut.
    """
    made: list[Change] = []
    for swept, run in groupby(findings, key=lambda finding: finding.begins and finding.detector == "silent"):
        found = [_change(finding, fleet, registry, profiles[finding.kind]) for finding in run]
        made += sorted(found, key=lambda change: (change.at_ms, change.device_id or 0)) if swept else found
    return made


def agent_silent(agent: Agent, begins: bool, at_ms: int, silent_after_s: int) -> Change:
    evidence = {"parameters": {"agent_silent_s": silent_after_s}}
    return Change(
        agent.municipality,
        None,
        agent.agent_id,
        None,
        "agent_silent",
        "agent_silent",
        None,
        SEVERITY["critical"],
        begins,
        at_ms,
        evidence,
    )


def _change(finding: Finding, fleet: Fleet, registry: Registry, profile: Profile) -> Change:
    device_id = registry.devices_of[finding.kind][finding.slot]
    severity: str
    if finding.property is None:
        condition, severity = finding.detector, profile.severity_of(finding.detector)
    else:
        condition = f"{finding.detector}:{finding.property}"
        severity = profile.properties[finding.property].detectors.severity_of(finding.detector)
    evidence: dict[str, Any] = {"parameters": fleet.parameters(finding.kind, finding.property, finding.detector)}
    evidence["parameters"] |= finding.detail or {}
    if finding.value is not None:
        item = None if finding.property is None else profile.properties[finding.property]
        evidence |= {
            "values": [_word(item, finding.value)],
            "observed_at": [finding.at_ms],
            "low": finding.low,
            "high": finding.high,
            "expected": _word(item, finding.expected),
        }
    if finding.score is not None:
        evidence["score"] = finding.score
    return Change(
        registry.town_of_id(device_id),
        device_id,
        None,
        finding.kind,
        condition,
        finding.detector,
        finding.property,
        SEVERITY[severity],
        finding.begins,
        finding.at_ms,
        evidence,
    )


def _word(item: Property | None, value: float | None) -> float | str | None:
    """A value as the API spells it: an enum's code as its word."""
    return item.values[int(value)] if item is not None and item.values and value is not None else value
