"""`dure register`: writes a fleet manifest into the registry."""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.connection import DatabaseError, connect
from ingest_service.store.registration import Manifest, ManifestError, check, register


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure register",
        description=(
            "Register the municipalities, agents and devices of a fleet manifest (JSON). Safe to run again: "
            "entries are updated."
        ),
        epilog='Smallest manifest: {"municipalities":[{"code":"41280","name":{"ko":"고양시","en":"Goyang-si"}}],'
        '"agents":[{"municipality":"41280","agent":"pole-07"}],'
        '"devices":[{"municipality":"41280","device":"sl-1","kind":"streetlight","agent":"pole-07"}]}',
    )
    parser.add_argument("manifest", type=Path, help="JSON file, as `dure sim fleet` writes it")
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    try:
        manifest = msgspec.json.decode(given.manifest.read_bytes(), type=Manifest)
        check(manifest, set(profiles.load()))
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        with connect(database, name="register") as connection:
            counts = register(connection, manifest)
    except (OSError, msgspec.DecodeError, ManifestError) as error:
        print(f"cannot register {given.manifest}: {error}", file=sys.stderr)
        return 2
    except (config.ConfigError, profiles.ProfileError) as error:
        print(error, file=sys.stderr)
        return 2
    except DatabaseError as error:
        print(f"cannot register {given.manifest}: {str(error).strip()}", file=sys.stderr)
        return 1
    print(
        f"registered {counts['municipalities']} municipalities, {counts['agents']} agents, {counts['devices']} devices"
    )
    return 0
