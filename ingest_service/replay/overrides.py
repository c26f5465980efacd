"""A file of detectors' parameters to try: `[kind.property.detector] key = value`, in the profile's own words.

Promise: what cannot be used is refused with file, key and value before anything is read. A detector that the profile
does not have is added, `detector = false` takes one away. Keys of a kind itself (`[kind] silent_after_periods = 6`) are
those of its profile that detectors judge by.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from contracts.config import ConfigError
from contracts.profiles import Detectors, Profile, Property, faults_of

DATABASE = "database"  # a table of the same file that belongs to `contracts.config`
# What a profile says of a kind that no detector judges by, or that is a fact and no parameter.
FACTS = {"kind", "ngsi_type", "label", "display", "properties", "symbol", "rollups", "report_period_s"}
KINDS_KEYS = [name for name in Profile.__struct_fields__ if name not in FACTS]


def read(file: Path, profiles: Mapping[str, Profile]) -> dict[str, Profile]:
    """The profiles with what the file says instead; raises ConfigError."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
    found = dict(profiles)
    for kind, entry in table.items():
        if kind == DATABASE:
            continue
        if kind not in profiles:
            raise _refused(file, kind, entry, f"no such kind; known are {', '.join(profiles)}")
        if not isinstance(entry, dict):
            raise _refused(file, kind, entry, f"not a table: write [{kind}.<property>.<detector>]")
        found[kind] = _changed(file, profiles[kind], entry)
        for key, value, wrong in faults_of(found[kind]):
            where = key.removeprefix("properties.").replace(".detectors", "", 1)
            raise _refused(file, f"{kind}.{where}", value, wrong)
    return found


def differences(before: Mapping[str, Profile], after: Mapping[str, Profile]) -> Iterator[tuple[str, Any, Any]]:
    """(key, value before, value after) of every parameter that differs; None where there is none."""
    for kind, profile in before.items():
        old, new = _flat(profile), _flat(after[kind])
        for key in [*old, *(key for key in new if key not in old)]:
            if old.get(key) != new.get(key):
                yield f"{kind}.{key}", old.get(key), new.get(key)


def _changed(file: Path, profile: Profile, table: dict[str, Any]) -> Profile:
    properties, own = dict(profile.properties), {}
    hints = get_type_hints(Profile)
    for key, value in table.items():
        if key in properties:
            if not isinstance(value, dict):
                wrong = f"not a table: write [{profile.kind}.{key}.<detector>]"
                raise _refused(file, f"{profile.kind}.{key}", value, wrong)
            properties[key] = _property(file, profile.kind, properties[key], value)
        elif key in KINDS_KEYS:
            own[key] = _converted(file, f"{profile.kind}.{key}", value, hints[key], getattr(profile, key))
        else:
            known = ", ".join([*properties, *KINDS_KEYS])
            raise _refused(file, f"{profile.kind}.{key}", value, f"no such property or key; known are {known}")
    return msgspec.structs.replace(profile, properties=properties, **own)


def _property(file: Path, kind: str, item: Property, table: dict[str, Any]) -> Property:
    hints, chosen = get_type_hints(Detectors), {}
    for name, value in table.items():
        where = f"{kind}.{item.name}.{name}"
        if name not in hints:
            raise _refused(file, where, value, f"no such detector; known are {', '.join(hints)}")
        chosen[name] = _converted(file, where, value, hints[name], getattr(item.detectors, name))
    return msgspec.structs.replace(item, detectors=msgspec.structs.replace(item.detectors, **chosen))


def _converted(file: Path, where: str, value: Any, hint: Any, before: Any) -> Any:
    """The value in the type of a field. Of a detector: the keys given, over those it has."""
    shapes = [shape for shape in get_args(hint) if isinstance(shape, type) and issubclass(shape, msgspec.Struct)]
    given = value
    if shapes and value is False:  # what works where a profile says nothing has to be switched off
        return msgspec.convert({"on": False}, shapes[0]) if "on" in shapes[0].__struct_fields__ else None
    if shapes and value is True:
        value = {}
    if shapes and isinstance(value, dict):
        value = {**(msgspec.to_builtins(before) if before is not None else {}), **value}
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        keys = [part for part in re.split(r"[.\[\]`]+", path) if part]
        keys += re.findall(r"(?:unknown|required) field `([^`]+)`", what)
        for key in keys:
            if isinstance(given, list) and key.isdigit():
                given = given[int(key)]
            else:
                given = given.get(key) if isinstance(given, dict) else None
        if shapes and "unknown field" in what:
            what = f"no such key; known are {', '.join(shapes[0].__struct_fields__)}"
        raise _refused(file, ".".join([where, *keys]), given, what) from error


def _flat(profile: Profile) -> dict[str, Any]:
    found: dict[str, Any] = {key: msgspec.to_builtins(getattr(profile, key)) for key in KINDS_KEYS}
    for name, item in profile.properties.items():
        for detector, limits in msgspec.to_builtins(item.detectors).items():
            for key, value in (limits or {}).items():
                found[f"{name}.{detector}.{key}"] = value
    return found


def _refused(file: Path, key: str, value: Any, wrong: str) -> ConfigError:
    return ConfigError(f"{file}: {key} = {value!r}: {wrong}")
