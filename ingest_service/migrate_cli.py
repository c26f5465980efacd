"""`dure migrate`: creates or updates the database's tables from the migrations and the profiles."""

import argparse
import os
import sys
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.connection import DatabaseError
from ingest_service.store.engine import EngineError
from ingest_service.store.migrate import MigrationBlocked, migrate
from ingest_service.store.schema import SchemaError


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure migrate",
        description=(
            "Create or update all tables, from the numbered migrations and the profiles. Safe to run again, and "
            "by two processes at once."
        ),
        epilog="The database is [database] url of --config, or DURE_DATABASE_URL.",
    )
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    try:
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        done = migrate(database, profiles.load())
    except (config.ConfigError, profiles.ProfileError, SchemaError, EngineError) as error:
        print(error, file=sys.stderr)
        return 2
    except (DatabaseError, MigrationBlocked) as error:
        print(f"cannot migrate: {error}", file=sys.stderr)
        return 1
    for line in done:
        print(line)
    print(f"schema {database.schema} is up to date")
    return 0
