"""Profiles: the one file that defines a kind of device. Everything that knows a kind is made from it.

Owns the format (`<kind>.toml`), its checks and the labels of conditions. A wrong profile is refused with the file, the
key and the value, before any socket opens. Directories named in DURE_PROFILES are read after the shipped ones.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

SHIPPED = Path(__file__).parent / "profiles"

Label = dict[str, str]
Shape = TypeVar("Shape", bound=msgspec.Struct)

# Words for what detectors find; conditions are "<detector>:<property>", "<detector>" of a device, and "agent_silent".
CONDITIONS: dict[str, Label] = {
    "out_of_range": {"en": "Out of range", "ko": "범위 이탈"},
    "rate_of_change": {"en": "Impossible rate of change", "ko": "변화율 이상"},
    "stuck": {"en": "Stuck", "ko": "값 고정"},
    "spike": {"en": "Spike", "ko": "급변"},
    "level_shift": {"en": "Level shift", "ko": "수준 이동"},
    "drift": {"en": "Drift", "ko": "드리프트"},
    "noise": {"en": "Noise burst", "ko": "잡음 증가"},
    "unit_error": {"en": "Unit error", "ko": "단위 오류"},
    "duplicates": {"en": "Repeated reports", "ko": "중복 보고"},
    "clock_skew": {"en": "Clock skew", "ko": "시계 오차"},
    "silent": {"en": "Silent", "ko": "무응답"},
    "backwards": {"en": "Runs backwards", "ko": "역행"},
    "counter_reset": {"en": "Counter began at zero", "ko": "계량 초기화"},
    "counter_restart": {"en": "Counter lost a little", "ko": "계량기 재시작"},
    "unchanging": {"en": "Unchanging", "ko": "변화 없음"},
    "daylight": {"en": "Lamp wrong for daylight", "ko": "점소등 불일치"},
    "novelty": {"en": "Unusual pattern", "ko": "특이 패턴"},
    "error_value": {"en": "Error value", "ko": "오류값"},
    "agent_silent": {"en": "Agent silent", "ko": "에이전트 무응답"},
}
# What a fault is called where only a number fits (int16; 0: nothing, or merely noted). Numbers are only ever appended.
DETECTOR_CODES: dict[str, int] = {
    "out_of_range": 1,
    "rate_of_change": 2,
    "stuck": 3,
    "spike": 4,
    "level_shift": 5,
    "drift": 6,
    "noise": 7,
    "unit_error": 8,
    "duplicates": 9,
    "clock_skew": 10,
    "silent": 11,
    "backwards": 12,
    "unchanging": 13,
    "daylight": 14,
    "novelty": 15,
    "error_value": 16,
}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_KIND_LENGTH = 32  # PostgreSQL cuts names at 63 bytes; the longest made of a kind adds 31 to it
# Words that PostgreSQL reserves (its documentation, appendix C) and that could be meant as a property.
_SQL = """
all analyse analyze and any array as asc asymmetric authorization between binary both case cast check collate collation
column concurrently constraint create cross current_date current_time current_user default deferrable desc distinct do
else end except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into is
isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on only or order
outer overlaps placing primary references returning right select session_user similar some symmetric table tablesample
then to trailing true union unique user using variadic verbose when where window with
"""
# Columns of the kinds' tables, and what the map's features carry beside the properties.
_OWN = "device device_id observed_at as_of bucket observations kind state municipality agent label at_ms"
_RESERVED = {*_OWN.split(), *_SQL.split()}


MOST_IGNORED = 4  # values of a number that may stay, or that are errors


class ProfileError(ValueError):
    """A profile that cannot be used; the message names file, key and value."""


Severity = Literal["info", "warning", "critical"]


class OutOfRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm while the value lies outside low..high; clears after `clear_after` values inside."""

    low: float | None = None
    high: float | None = None
    severity: Severity = "warning"
    clear_after: int = 3


class RateOfChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a value moves faster than what it measures can, and stays where it went."""

    per_minute: float
    severity: Severity = "warning"


class Stuck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a value repeats more than the series' own past explains at that hour; after `repeats` in a row over
    `min_duration_s` even of a series without a past (0: never). `ignore` lists values that may stay.
    """

    on: bool = True
    repeats: int = 0
    min_duration_s: int = 0
    ignore: Annotated[tuple[float, ...], msgspec.Meta(max_length=MOST_IGNORED)] = ()
    severity: Severity = "warning"


class Spike(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a value stands out from both its neighbours by more than `threshold` of what is usual for the series
    (a sd), and by at least `min_jump`; it may stay out for three readings.
    """

    on: bool = True
    threshold: float = 5.0
    min_jump: float = 0.0
    severity: Severity = "info"


class LevelShift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a value jumps like a spike and stays there."""

    on: bool = True
    threshold: float = 5.0
    min_jump: float = 0.0
    severity: Severity = "warning"


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A detector without parameters of its own."""

    on: bool = True
    severity: Severity = "warning"


class Novelty(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a value's score, 0 to 1, reaches `threshold`, two days after the first value at the earliest; clears
    after `clear_after` values without news.
    """

    threshold: float = 0.8
    clear_after: int = 12
    severity: Severity = "info"


class ErrorValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a number falls to one of `values`, which a broken counter says, and comes straight back to where it
    was; clears after `clear_after_s` without.
    """

    values: Annotated[tuple[float, ...], msgspec.Meta(max_length=MOST_IGNORED)]
    clear_after_s: int = 86_400
    severity: Literal["info", "warning", "critical"] = "warning"


class Backwards(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A counter: a number that only ever rises, till `modulus`, where it begins again. Alarm when it falls; not when it
    begins at zero (a meter replaced) or loses what it counts in `restart_loss_s` (a device restarted): these are noted
    as `counter_reset` and `counter_restart`.
    """

    modulus: float | None = None
    restart_loss_s: int = 3600
    severity: Literal["info", "warning", "critical"] = "warning"
    clear_after: int = 3


class Unchanging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a word or number that should change does not while its neighbours' do, `min_duration_s` at the
    earliest, or when a word is one of `unknown` for `unknown_after_s`; `ignore` lists words that may stay.
    """

    min_duration_s: int = 86_400
    ignore: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    unknown_after_s: int = 21_600
    severity: Literal["info", "warning", "critical"] = "warning"


class Daylight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Alarm when a lamp burns by day or is dark at night for `after_s`. It is lit while the word is one of `lit`; but
    where the observation has one of the numbers in `lit_above`, the first of them decides by its threshold.
    """

    lit: tuple[str, ...]
    lit_above: dict[str, float] = {}
    after_s: int = 900
    severity: Literal["info", "warning", "critical"] = "warning"


class Detectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a profile says of a property's detectors. Where it says nothing, those that learn work with their defaults;
    `out_of_range` and `rate_of_change` need a limit, and all from `novelty` on are asked for.
    """

    out_of_range: OutOfRange | None = None
    rate_of_change: RateOfChange | None = None
    stuck: Stuck | None = None
    spike: Spike | None = None
    level_shift: LevelShift | None = None
    drift: Switch | None = None
    noise: Switch | None = None
    unit_error: Switch | None = None
    novelty: Novelty | None = None
    error_value: ErrorValue | None = None
    backwards: Backwards | None = None
    unchanging: Unchanging | None = None
    daylight: Daylight | None = None

    @property
    def of_words(self) -> bool:
        """Whether any of those for enumerations alone is chosen."""
        return self.daylight is not None

    @property
    def of_numbers(self) -> bool:
        """Whether any of those for numbers and integers is chosen."""
        kept = msgspec.structs.replace(self, unchanging=None, daylight=None)
        return kept != Detectors()

    def severity_of(self, detector: str) -> Severity:
        """Severity of what a detector finds."""
        chosen = getattr(self, detector, None)
        if chosen is None:  # by its default; words that no detector has are merely noted
            return "warning" if detector != "spike" and detector in DETECTOR_CODES else "info"
        severity: Severity = chosen.severity
        return severity


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named quantity of a kind."""

    type: Literal["number", "integer", "enum", "boolean"]
    label: Label
    ngsi: str
    name: str = ""
    unit: str = ""  # UCUM
    unit_code: str = ""  # UN/CEFACT
    decimals: int = 2
    plausible: tuple[float, float] | None = None  # outside: quarantined
    values: tuple[str, ...] = ()  # of an enum; the database stores the index, so values are only ever appended
    value_labels: dict[str, Label] = {}
    detectors: Detectors = Detectors()
    emptied: bool = False  # fills and is emptied at once: a sudden fall is no fault, the time of day tells nothing
    chart: bool = True

    @property
    def numeric(self) -> bool:
        return self.type in ("number", "integer")


class Display(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    headline: str  # property shown beside the device's name
    state: str = ""  # enum property that styles the symbol while nothing is wrong
    level: str = ""  # property from 0 to 1 that fills the symbol


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of device."""

    kind: str
    ngsi_type: str
    label: Label
    display: Display
    properties: dict[str, Property]
    report_period_s: int
    symbol: Literal["lamp", "bin", "bay", "garage", "generic"] = "generic"
    silent_after_periods: int = 3
    silent_severity: Severity = "warning"
    clock_skew: Switch = Switch()
    duplicates: Switch = Switch(severity="info")
    rollups: tuple[Literal["minute", "hour", "day"], ...] = ("hour", "day")  # minute: where it reports faster

    def severity_of(self, detector: str) -> Severity:
        """Severity of what a detector finds of a whole device."""
        chosen = {"clock_skew": self.clock_skew, "duplicates": self.duplicates}.get(detector)
        return self.silent_severity if chosen is None else chosen.severity

    @property
    def numeric(self) -> list[Property]:
        return [item for item in self.properties.values() if item.numeric]

    @property
    def measured(self) -> list[Property]:
        """Numbers that have a level; a counter only ever rises."""
        return [item for item in self.numeric if item.detectors.backwards is None]


def folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where profiles are: the shipped directory, and those in DURE_PROFILES."""
    return [SHIPPED, *(Path(item) for item in environ.get("DURE_PROFILES", "").split(os.pathsep) if item)]


def load(*directories: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Profile]:
    """Profiles by kind, of the shipped directory and those in DURE_PROFILES unless directories are given; raises
    ProfileError.
    """
    profiles: dict[str, Profile] = {}
    for directory in directories or folders(environ):
        if not directory.is_dir():
            raise ProfileError(f"{directory}: no such folder of profiles")
        for file in sorted(directory.glob("*.toml")):
            profile = read(file)
            if profile.kind in profiles:
                raise ProfileError(f"{file}: kind = {profile.kind!r}: defined twice")
            profiles[profile.kind] = profile
    return profiles


def read(file: Path) -> Profile:
    """One profile; raises ProfileError naming file, key and value."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file}: not TOML: {error}") from error
    properties = table.get("properties")
    for name, item in properties.items() if isinstance(properties, dict) else ():
        if isinstance(item, dict):
            item["name"] = name
            _convert(
                file, f"properties.{name}.", item, Property
            )  # one by one: msgspec's paths do not tell a dict's key
    profile = _convert(file, "", table, Profile)
    for key, value, wrong in _faults(profile, file.stem):
        raise ProfileError(f"{file}: {key} = {value!r}: {wrong}")
    return profile


def faults_of(profile: Profile) -> Iterable[tuple[str, object, str]]:
    """(key, value, what is wrong with it) of a profile whose parts have the right types."""
    return _faults(profile, profile.kind)


def _convert(file: Path, prefix: str, table: dict[str, Any], cls: type[Shape]) -> Shape:
    """`table` as a Struct; raises ProfileError with `key = value: what is wrong`."""
    try:
        return msgspec.convert(table, cls)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        keys = [part for part in re.split(r"[.\[\]`]+", path) if part]
        unknown = re.search(r"unknown field `([^`]+)`", what)
        missing = re.search(r"missing required field `([^`]+)`", what)
        keys += [found[1] for found in (unknown, missing) if found]
        value: Any = table
        for key in keys:
            value = (
                value.get(key)
                if isinstance(value, dict)
                else value[int(key)]
                if isinstance(value, list) and key.isdigit()
                else None
            )
        raise ProfileError(f"{file}: {prefix}{'.'.join(keys)} = {value!r}: {what}") from error


def _faults(profile: Profile, stem: str) -> Iterable[tuple[str, object, str]]:
    if not _NAME.fullmatch(profile.kind) or profile.kind != stem:
        yield "kind", profile.kind, f"must be lower-case words joined by '_' and the file's name {stem!r}"
    if len(profile.kind) > _KIND_LENGTH:
        yield "kind", profile.kind, f"must have at most {_KIND_LENGTH} letters"
    if profile.report_period_s < 1:
        yield "report_period_s", profile.report_period_s, "must be at least 1"
    if profile.silent_after_periods < 1:
        yield "silent_after_periods", profile.silent_after_periods, "must be at least 1"
    if "hour" not in profile.rollups:
        yield "rollups", list(profile.rollups), "must include 'hour': long spans are charted from it"
    if len(set(profile.rollups)) != len(profile.rollups):
        yield "rollups", list(profile.rollups), "names a tier twice"
    if not profile.properties:
        yield "properties", {}, "a kind needs at least one property"
    yield from _label_faults("label", profile.label)
    for key, name in (
        ("display.headline", profile.display.headline),
        ("display.state", profile.display.state),
        ("display.level", profile.display.level),
    ):
        if name and name not in profile.properties:
            yield key, name, f"no such property; known are {', '.join(profile.properties)}"
    if profile.display.state and profile.properties[profile.display.state].type != "enum":
        yield "display.state", profile.display.state, "must be an enum"
    for name, item in profile.properties.items():
        yield from _property_faults(f"properties.{name}", name, item)
    yield from _word_faults(profile)


def _property_faults(key: str, name: str, item: Property) -> Iterable[tuple[str, object, str]]:
    if not _NAME.fullmatch(name) or name in _RESERVED:
        yield key, name, "not a usable name of a property"
    yield from _label_faults(f"{key}.label", item.label)
    if (item.type == "enum") != bool(item.values):
        yield f"{key}.values", list(item.values), "an enum, and only an enum, lists its values"
    if len(set(item.values)) != len(item.values):
        yield f"{key}.values", list(item.values), "names a value twice"
    for value in item.value_labels:
        if value not in item.values:
            yield f"{key}.value_labels", value, "not among the values"
    if item.plausible is not None and not item.plausible[0] < item.plausible[1]:
        yield f"{key}.plausible", list(item.plausible), "low must be below high"
    if item.numeric and item.plausible is None:
        yield f"{key}.plausible", None, "a quantity needs its plausible range [low, high]"
    if not item.numeric and (item.detectors.of_numbers or item.plausible is not None):
        yield f"{key}.detectors", item.type, "these detectors and plausible ranges are for numbers and integers"
    if item.type != "enum" and item.detectors.of_words:
        yield f"{key}.detectors", item.type, "daylight is for enums"
    if item.type == "boolean" and item.detectors.unchanging is not None:
        yield f"{key}.detectors", item.type, "unchanging is for enums, numbers and integers"
    limits = item.detectors.out_of_range
    if limits is not None and limits.low is None and limits.high is None:
        yield f"{key}.detectors.out_of_range", {}, "needs low, high or both"
    if limits is not None and limits.low is not None and limits.high is not None and not limits.low < limits.high:
        yield f"{key}.detectors.out_of_range", [limits.low, limits.high], "low must be below high"
    if item.detectors.stuck is not None and (item.detectors.stuck.repeats == 1 or item.detectors.stuck.repeats < 0):
        yield f"{key}.detectors.stuck.repeats", item.detectors.stuck.repeats, "must be at least 2, or 0 for never"
    for name, jump in (("spike", item.detectors.spike), ("level_shift", item.detectors.level_shift)):
        if jump is not None and jump.threshold <= 0:
            yield f"{key}.detectors.{name}.threshold", jump.threshold, "must be positive"
    if item.detectors.rate_of_change is not None and item.detectors.rate_of_change.per_minute <= 0:
        yield f"{key}.detectors.rate_of_change.per_minute", item.detectors.rate_of_change.per_minute, "must be positive"
    novelty = item.detectors.novelty
    if novelty is not None and not 0.0 < novelty.threshold < 1.0:
        yield f"{key}.detectors.novelty.threshold", novelty.threshold, "must lie between 0 and 1"
    if novelty is not None and novelty.clear_after < 1:
        yield f"{key}.detectors.novelty.clear_after", novelty.clear_after, "must be at least 1"
    wrong = item.detectors.error_value
    if wrong is not None and not wrong.values:
        yield f"{key}.detectors.error_value.values", [], "names no value"
    if wrong is not None and wrong.clear_after_s < 1:
        yield f"{key}.detectors.error_value.clear_after_s", wrong.clear_after_s, "must be positive"


def _word_faults(profile: Profile) -> Iterable[tuple[str, object, str]]:
    """Faults of detectors that name words of an enum, or other properties."""
    for name, item in profile.properties.items():
        key = f"properties.{name}.detectors"
        unchanging, daylight, counter = item.detectors.unchanging, item.detectors.daylight, item.detectors.backwards
        lists = {
            "unchanging.ignore": unchanging.ignore if unchanging else (),
            "unchanging.unknown": unchanging.unknown if unchanging else (),
            "daylight.lit": daylight.lit if daylight else (),
        }
        for where, words in lists.items():
            for word in words:
                if word not in item.values:
                    yield f"{key}.{where}", word, "not among the values"
        if daylight is not None:
            for other in daylight.lit_above:
                if other not in profile.properties or not profile.properties[other].numeric:
                    yield f"{key}.daylight.lit_above", other, "no such number"
            if daylight.after_s < 0:
                yield f"{key}.daylight.after_s", daylight.after_s, "must not be negative"
        if unchanging is not None and min(unchanging.min_duration_s, unchanging.unknown_after_s) < 1:
            seconds = [unchanging.min_duration_s, unchanging.unknown_after_s]
            yield f"{key}.unchanging", seconds, "seconds must be positive"
        if counter is not None and counter.modulus is not None and counter.modulus <= 0:
            yield f"{key}.backwards.modulus", counter.modulus, "must be positive"
        if counter is not None and item.detectors != Detectors(backwards=counter):
            yield key, name, "a counter has backwards and no other detector"


def _label_faults(key: str, label: Label) -> Iterable[tuple[str, object, str]]:
    if set(label) != {"en", "ko"} or not all(label.values()):
        yield key, label, "needs a text for en and for ko"
