"""`dure check FILE…`: says whether a configuration or a profile can be used, without opening any socket."""

import argparse
import importlib
import sys
import tomllib
from pathlib import Path

from contracts import config, profiles

# Table of a configuration file -> where its settings class lives.
SECTIONS = {
    "edge": "edge.settings",
    "ingest": "ingest_service.settings",
    "database": "ingest_service.settings:Database",
    "api": "platform_api.settings",
}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure check",
        description="Check configuration files and profiles. Prints one line a file; exits 2 when one cannot be used.",
        epilog=(
            "A TOML file with a `kind` is taken for a profile; any other for a configuration with tables such as "
            "[edge] or [ingest]."
        ),
    )
    parser.add_argument(
        "file", nargs="*", type=Path, help="TOML file; without any, the shipped profiles and DURE_PROFILES are checked"
    )
    given = parser.parse_args(argv)
    failed = False
    try:
        kinds = profiles.load()
        print(f"profiles: {', '.join(kinds)}: good")
    except profiles.ProfileError as error:
        print(error, file=sys.stderr)
        failed = True
    for file in given.file:
        try:
            print(f"{file}: {check(file)}: good")
        except (config.ConfigError, profiles.ProfileError) as error:
            print(error, file=sys.stderr)
            failed = True
    return 2 if failed else 0


def check(file: Path) -> str:
    """What the file is; raises ConfigError or ProfileError."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise config.ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise config.ConfigError(f"{file}: not TOML: {error}") from error
    if "kind" in table:
        return f"profile of {profiles.read(file).kind}"
    for name in table:
        if name not in SECTIONS:
            raise config.ConfigError(f"{file}: [{name}]: unknown table; known are {', '.join(SECTIONS)}")
        module, _, cls = SECTIONS[name].partition(":")
        config.load(getattr(importlib.import_module(module), cls or "Settings"), name=name, file=file, environ={})
    return f"configuration of {', '.join(table) or 'nothing'}"
