"""Faults of devices, with their ground truth: what is wrong, where, from when to when, how badly.

A schedule is a pure function of (seed, fleet, profiles, start): an opening set, one each of the faults that the
shipped detectors name, then a handful in every 24 hours; and the lasting ones (`LASTING`), of which a few are at work
at any time. Labels are written from the same `Fault`s that alter the
stream. How a fault alters the values is `apply`; which reports a silence swallows is `silenced`. Detectors are not
consulted, only their limits in the profile.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from contracts.profiles import Profile, Property
from firmware_sim import word_faults
from firmware_sim.labels import Fault, Shape
from firmware_sim.physics.generic import normal_range
from firmware_sim.randomness import F8, I8, key_of, normal

SHAPES: tuple[Shape, ...] = ("spike", "stuck", "out_of_range", "silent", "offset", "drift", "noise")
# Only where they are asked for: reports that come twice or at times that never were, values that nobody believes.
UNRULY: tuple[Shape, ...] = ("intermittent", "unit_error", "duplicates", "clock_skew")
HANGS, LIVES = 12, 6  # periods that an intermittent fault hangs, and then lives
SKEWS_S = (-86_400, -3600, 3600, 86_400)
OPENING: tuple[Shape, ...] = ("stuck", "out_of_range", "silent", "spike")
MINUTE_MS, DAY_MS = 60_000, 86_400_000
FAULTS_A_DAY = 12
SPIKE_WARM_UP = 22  # readings: what the spike detector has to see before it judges, and a few more


class Lasting(msgspec.Struct, frozen=True):
    """A fault that lasts for hours, in one property of one kind; again and again, in the towns in turn."""

    kind: str
    property: str | None
    fault: Shape
    first_minute: float  # of the first of them, after the start
    hours: tuple[float, float]
    severity: tuple[float, float] = (0.0, 0.0)  # of out_of_range; below zero: under the lower limit


LASTING_EVERY_MS = 8 * 60 * MINUTE_MS
LASTING = (
    Lasting("streetlight", "voltage", "out_of_range", 6, (5, 8), (-0.6, -0.2)),  # a loose neutral: undervoltage
    Lasting("streetlight", "voltage", "stuck", 3, (5, 8)),  # a meter that hangs
    Lasting("waste_container", None, "silent", 2, (7, 11)),  # an empty battery
    Lasting("off_street_parking", "available_spot_number", "out_of_range", 14, (5, 8), (-0.002, -0.0005)),  # below zero
    Lasting("waste_container", "temperature", "out_of_range", 10, (3, 5), (0.1, 0.9)),  # it burns
    Lasting("streetlight", None, "silent", 18, (5, 8)),  # a cut line
)
# Standard deviation of what a healthy device's value does in a few minutes, where the physics makes it; elsewhere
# 1 % of the normal range stands for it.
RESIDUAL = {
    "voltage": 0.9,
    "temperature": 0.4,
    "filling_level": 0.01,
    "power_consumption": 1.0,
    "available_spot_number": 4.0,
}


def schedule(
    devices: list[dict[str, Any]],
    profiles: dict[str, Profile],
    seed: int,
    start_ms: int,
    days: int = 1,
    shapes: tuple[Shape, ...] = SHAPES,
) -> list[Fault]:
    """Faults that begin in the first `days` x 24 h after start_ms, in order of onset; no device has two of them
    within a day.
    """
    places = _places(devices, profiles)
    found: list[Fault] = []
    for day in range(days):
        random = np.random.Generator(np.random.PCG64(key_of(seed, "faults", start_ms, day)))
        used: set[tuple[str, str]] = {
            (fault.municipality, fault.device)
            for fault in found
            if fault.onset_at >= start_ms + (day - 1) * DAY_MS or fault.end_at > start_ms + day * DAY_MS
        }
        opening = OPENING if day == 0 else ()
        for number, shape in enumerate(
            (*opening, *(shapes[i] for i in random.permutation(np.arange(FAULTS_A_DAY) % len(shapes))))
        ):
            if number < len(opening):
                # The spike waits until the profile's own detector has seen its warm-up.
                onset = start_ms + (4 + 3 * number) * MINUTE_MS
            else:
                onset = start_ms + day * DAY_MS + int(random.uniform(0.04, 0.97) * DAY_MS)
            seen = [
                place
                for place in places[shape]
                if (place[0], place[1]) not in used and (number >= len(opening) or place[4])
            ]
            if not seen:
                continue
            fault = _fault(shape, seen[int(random.integers(len(seen)))], profiles, onset, start_ms, random)
            used.add((fault.municipality, fault.device))
            found.append(fault)
        for fault in _lasting(devices, profiles, start_ms, day, used, random):
            used.add((fault.municipality, fault.device))
            found.append(fault)
        found += word_faults.schedule(devices, profiles, seed, start_ms, day, used)
    return sorted(found, key=lambda fault: (fault.onset_at, fault.municipality, fault.device))


def _lasting(
    devices: list[dict[str, Any]],
    profiles: dict[str, Profile],
    start_ms: int,
    day: int,
    used: set[tuple[str, str]],
    random: np.random.Generator,
) -> list[Fault]:
    """The lasting faults that begin in one 24 hours, on devices that are not used."""
    towns = sorted({row["municipality"] for row in devices})
    found: list[Fault] = []
    for number, lasting in enumerate(LASTING):
        profile = profiles.get(lasting.kind)
        if profile is None or (lasting.property is not None and lasting.property not in profile.properties):
            continue
        able = [(row["municipality"], row["device"]) for row in devices if row["kind"] == lasting.kind]
        for turn in range(DAY_MS // LASTING_EVERY_MS):
            first = day == 0 and turn == 0
            onset = start_ms + day * DAY_MS + turn * LASTING_EVERY_MS + int(lasting.first_minute * MINUTE_MS)
            onset += 0 if first else int(random.uniform(0, 0.2) * LASTING_EVERY_MS)
            taken = used | {(fault.municipality, fault.device) for fault in found}
            town = towns[(number + turn + day) % len(towns)]
            free = [place for place in able if place not in taken]
            places = [place for place in free if place[0] == town] or free
            if not places:
                continue
            municipality, device = places[int(random.integers(len(places)))]
            periods = max(1, round(random.uniform(*lasting.hours) * 3600 / profile.report_period_s))
            end = onset + periods * profile.report_period_s * 1000
            severity = round(float(random.uniform(*lasting.severity)), 5) if lasting.severity != (0, 0) else periods
            found.append(Fault(municipality, device, lasting.property, lasting.fault, onset, end, severity))
    return found


Place = tuple[str, str, str, str | None, bool]  # municipality, device, kind, property, quick: seen within minutes


def _places(devices: list[dict[str, Any]], profiles: dict[str, Profile]) -> dict[Shape, list[Place]]:
    """Where each fault may happen so that the profile's detectors can see it."""
    places: dict[Shape, list[Place]] = {shape: [] for shape in (*SHAPES, *UNRULY)}
    for row in devices:
        profile = profiles[row["kind"]]
        quick = profile.report_period_s <= 60
        where = row["municipality"], row["device"], row["kind"]
        places["silent"].append((*where, None, quick and profile.silent_after_periods <= 10))
        for shape in ("duplicates", "clock_skew"):
            places[shape].append((*where, None, quick))
        for item in profile.properties.values():
            if not item.numeric:
                continue
            detectors = item.detectors
            place = (*where, item.name, quick)
            for shape in ("intermittent", "unit_error"):
                places[shape].append(place)
            if detectors.stuck is not None and detectors.stuck.repeats <= 60:
                places["stuck"].append(place)
            if detectors.out_of_range is not None and item.type == "number":
                places["out_of_range"].append((*where, item.name, quick and detectors.out_of_range.high is not None))
            if detectors.spike is not None and item.type == "number" and _spike_height(item) is not None:
                places["spike"].append(place)
            if detectors.spike is not None and item.type == "number":
                for shape in ("offset", "drift", "noise"):
                    places[shape].append(place)
    return places


def residual(item: Property) -> float:
    """Healthy short-term sd of a property."""
    low, high = normal_range(item)
    return RESIDUAL.get(item.name, 0.01 * (high - low))


def _spike_height(item: Property) -> float | None:
    """A jump that the spike detector sees and that stays inside the alarm limits, or None where there is no room."""
    spike = item.detectors.spike
    if spike is None:
        return None
    low, high = normal_range(item)
    height = max(1.5 * spike.min_jump, 3.5 * spike.threshold * residual(item))
    return height if height < 0.6 * (high - low) else None


def _fault(
    shape: Shape, place: Place, profiles: dict[str, Profile], onset: int, start_ms: int, random: np.random.Generator
) -> Fault:
    municipality, device, kind, name, _ = place
    profile = profiles[kind]
    period_ms = profile.report_period_s * 1000
    if shape == "duplicates":
        periods = int(random.integers(12, 60))
        return Fault(municipality, device, None, shape, onset, onset + periods * period_ms, periods)
    if shape == "clock_skew":
        skew_s = SKEWS_S[int(random.integers(len(SKEWS_S)))]
        return Fault(municipality, device, None, shape, onset, onset + DAY_MS // 4, skew_s)
    if shape == "silent" or name is None:
        periods = int(profile.silent_after_periods * random.uniform(3, 8))
        return Fault(municipality, device, None, "silent", onset, onset + periods * period_ms, periods)
    item = profile.properties[name]
    if shape == "stuck":
        assert item.detectors.stuck is not None
        periods = int(item.detectors.stuck.repeats * random.uniform(2.5, 6))
        return Fault(municipality, device, name, shape, onset, onset + periods * period_ms, periods)
    if shape == "intermittent":
        periods = (HANGS + LIVES) * int(random.integers(4, 12))
        return Fault(municipality, device, name, shape, onset, onset + periods * period_ms, periods)
    if shape == "unit_error":
        return Fault(municipality, device, name, shape, onset, onset + DAY_MS, float(random.choice([10, 1000])))
    if shape == "spike":
        assert item.detectors.spike is not None
        earliest = start_ms + SPIKE_WARM_UP * period_ms
        height = _spike_height(item)
        assert height is not None
        onset = max(onset, earliest)
        return Fault(municipality, device, name, shape, onset, onset + period_ms, round(height / residual(item), 2))
    if shape == "out_of_range":
        return Fault(
            municipality,
            device,
            name,
            shape,
            onset,
            onset + int(random.integers(8, 40)) * period_ms,
            round(float(random.uniform(0.05, 0.3)), 3),
        )
    return Fault(
        municipality,
        device,
        name,
        shape,
        onset,
        onset + int(random.integers(60, 240)) * period_ms,
        round(float(random.uniform(4, 12)), 2),
    )


def silenced(faults: Iterable[Fault], number_of: dict[str, int], device: I8, at_ms: I8) -> np.ndarray:
    """Mask of the reports that a silence swallows."""
    mask = np.zeros(len(at_ms), dtype=bool)
    for fault in faults:
        if fault.fault == "silent":
            mask |= (device == number_of[fault.device]) & (at_ms >= fault.onset_at) & (at_ms < fault.end_at)
    return mask


def repeated(faults: Iterable[Fault], number_of: dict[str, int], device: I8, at_ms: I8) -> np.ndarray:
    """Mask of the reports that come twice."""
    mask = np.zeros(len(at_ms), dtype=bool)
    for fault in faults:
        if fault.fault == "duplicates":
            mask |= (device == number_of[fault.device]) & (at_ms >= fault.onset_at) & (at_ms < fault.end_at)
    return mask


def apply(fault: Fault, item: Property, truth: F8, at_ms: I8, true_at: Callable[[int], float]) -> F8:
    """What the faulty device reports instead of `truth` at instants inside [onset_at, end_at)."""
    size = fault.severity * residual(item)

    def at_onset() -> float:
        return true_at(fault.onset_at)

    low, high = normal_range(item)
    match fault.fault:
        case "stuck":
            return np.full(len(truth), at_onset())
        case "unit_error":
            return truth * fault.severity
        case "intermittent":
            return _intermittent(fault, truth, at_ms, true_at)
        case "spike" | "offset":
            return truth + (size if at_onset() + size <= high else -size)
        case "drift":
            return truth + size * (at_ms - fault.onset_at) / (fault.end_at - fault.onset_at)
        case "noise":
            key = np.array([key_of(fault.municipality, fault.device, fault.onset_at)], dtype=np.uint64)
            return truth + size * normal(key, 0, at_ms)
        case "out_of_range":
            limits = item.detectors.out_of_range
            beyond = abs(fault.severity) * (high - low)
            above = fault.severity >= 0 and limits is not None and limits.high is not None
            wandering = 0.2 * (truth - at_onset())
            said: F8 = high + np.maximum(beyond + wandering, 0.2 * beyond)
            return said if above else low - np.maximum(beyond - wandering, 0.2 * beyond)
    raise ValueError(f"cannot apply fault {fault.fault!r}: it has no values")


def _intermittent(fault: Fault, truth: F8, at_ms: I8, true_at: Callable[[int], float]) -> F8:
    """Hangs at what it said last, lives for a while, hangs again."""
    period_ms = (fault.end_at - fault.onset_at) // round(fault.severity)
    turn_ms = (HANGS + LIVES) * period_ms
    turn, into_ms = np.divmod(at_ms - fault.onset_at, turn_ms)
    said = truth.copy()
    for number in np.unique(turn).tolist():
        hangs = (turn == number) & (into_ms < HANGS * period_ms)
        said[hangs] = true_at(fault.onset_at + number * turn_ms)
    return said


def overlapping(faults: Iterable[Fault], from_ms: int, to_ms: int) -> list[Fault]:
    """Faults at work within [from_ms, to_ms)."""
    return [fault for fault in faults if fault.onset_at < to_ms and fault.end_at > from_ms]


def in_range(item: Property, values: F8) -> F8:
    """Values of a fault that is not out_of_range, kept inside the plausible range."""
    low, high = item.plausible or (-np.inf, np.inf)
    kept: F8 = np.clip(values, low, high)
    return kept
