"""Settings of a service: one table of a TOML file, overridden by DURE_<TABLE>_<KEY>, checked before any socket opens.

A settings class is a msgspec Struct whose fields are `Annotated[type, Meta(description=…)]`; the reference page and the
check of the annotated samples are made from it. An unknown or wrong key is refused naming file, key and value.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

Settings = TypeVar("Settings", bound=msgspec.Struct)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file (or variable), key and value."""


class Setting(msgspec.Struct, frozen=True):
    """One setting as the reference page shows it."""

    key: str
    variable: str
    type: str
    default: Any
    required: bool
    description: str


def load(section: type[Settings], *, name: str, file: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of table [name]; raises ConfigError. Other tables of the file are left to their owners."""
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    if file is not None:
        table = _read(file).get(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: [{name}] = {table!r}: not a table")
        for key, value in table.items():
            values[key] = value
            origin[key] = f"{file}: [{name}] {key}"
    known = {setting.key: setting for setting in settings_of(section, name=name)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{origin[key]} = {values[key]!r}: unknown key; known are {', '.join(sorted(known))}")
    for key, setting in known.items():
        if setting.variable in environ:
            values[key] = environ[setting.variable]
            origin[key] = setting.variable
    hints = get_type_hints(section, include_extras=True)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        try:
            checked[key] = msgspec.convert(
                value, hints[key], strict=not origin[key].startswith("DURE_"), dec_hook=_decode
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"{origin[key]} = {value!r}: {error}") from error
    for key, setting in known.items():
        if setting.required and key not in checked:
            raise ConfigError(f"{file or 'environment'}: [{name}] {key}: missing (or set {setting.variable})")
    try:
        return section(**checked)
    except ValueError as error:  # settings that do not go together
        raise ConfigError(f"{file or 'environment'}: [{name}] {error}") from error


def settings_of(section: type[msgspec.Struct], *, name: str) -> Iterator[Setting]:
    """Every setting of a settings class, in its order."""
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        hint, description = hints[field.name], ""
        if get_origin(hint) is Annotated:
            hint, *metas = get_args(hint)
            description = " ".join(
                meta.description for meta in metas if isinstance(meta, msgspec.Meta) and meta.description
            )
        default = field.default_factory() if callable(field.default_factory) else field.default
        yield Setting(
            key=field.name,
            variable=f"DURE_{name.upper()}_{field.name.upper()}",
            type=hint.__name__ if isinstance(hint, type) else str(hint),
            default=None if field.required else default,
            required=field.required,
            description=description,
        )


def _decode(cls: type, value: Any) -> Any:
    if cls is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(cls)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from error
