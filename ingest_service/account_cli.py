"""`dure account`: counts in the database what was committed, quarantined, doubled and lost, and names the SQL of each
figure.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from contracts import config, profiles
from ingest_service.settings import Database
from ingest_service.store.account import account
from ingest_service.store.connection import DatabaseError, connect


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dure account",
        description=(
            "Count in the database: committed, committed twice, quarantined, duplicates dropped, alarms. JSON; "
            "`sql` names the statement behind each figure."
        ),
    )
    parser.add_argument("--config", type=Path, help="TOML file with a [database] table")
    given = parser.parse_args(argv)
    try:
        kinds = profiles.load()
        database = config.load(Database, name="database", file=given.config, environ=os.environ)
        with connect(database, name="account") as connection:
            json.dump(account(connection, kinds), sys.stdout, indent=1, default=str)
    except (config.ConfigError, profiles.ProfileError) as error:
        print(error, file=sys.stderr)
        return 2
    except DatabaseError as error:
        print(f"cannot count: {error}", file=sys.stderr)
        return 1
    print()
    return 0
