"""`dure database`: run the embedded PostgreSQL on a directory until told to stop."""

import argparse
import sys
from pathlib import Path

from ingest_service.database.cluster import Cluster, ClusterError
from ingest_service.database.programs import ProgramsError
from ingest_service.database.supervisor import Supervisor

DESCRIPTION = """\
Run PostgreSQL on a directory, and start it again whenever it dies. The first start creates the database (about 2 s).

Prints one line "ready url=postgresql://..." when it answers, and keeps the same address in STATE/database.url, over
restarts too. It listens on a unix socket that only your account can reach, on no TCP port, and needs no password.
It may be run by root, in a container say; PostgreSQL itself then runs as somebody else.
SIGTERM or Ctrl-C stops in order; a second one at once.
"""

EXAMPLES = """\
examples:
  dure database --state state/database &
  export DURE_DATABASE_URL=$(cat state/database/database.url)
  dure migrate
  psql "$DURE_DATABASE_URL"                          # any psql will do
  pg_dump "$DURE_DATABASE_URL" -Fc -f dure.dump      # a backup while it runs

Settings live in ALTER SYSTEM SET ...; the server's own log is STATE/postgres.log.
You have a PostgreSQL already? Don't run this; set DURE_DATABASE_URL to it.
"""


def main(argv: list[str]) -> int:
    """Run until told to stop; 0 after an orderly stop, 1 when the database cannot start."""
    parser = argparse.ArgumentParser(
        prog="dure database",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="where the data lives; created if need be"
    )
    parser.add_argument(
        "--programs",
        type=Path,
        metavar="DIR",
        help="use the PostgreSQL (16 or later) in this directory, with its extensions, instead of the wheel's: "
        "/usr/lib/postgresql/18/bin",
    )
    options = parser.parse_args(argv)
    try:
        Supervisor(Cluster(options.state, options.programs)).run(lambda url: print(f"ready url={url}", flush=True))
    except (ClusterError, ProgramsError) as error:
        print(f"dure database: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a directory that is not ours
        print(f"dure database: cannot run on {str(options.state)!r}: {error}", file=sys.stderr)
        return 1
    return 0
