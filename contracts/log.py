"""One log line a change of state: `<time> <level> <event> key=value …` on stderr; foreign text in repr."""

import re
import sys
from datetime import UTC, datetime

_plain = re.compile(r"[A-Za-z0-9_./:@+-]+")


def log(event: str, *, level: str = "info", **fields: object) -> None:
    """Write one line; values that are not plain words are quoted with repr."""
    parts = []
    for key, value in fields.items():
        text = str(value)
        parts.append(f"{key}={text if _plain.fullmatch(text) else repr(text)}")
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stderr.write(" ".join([stamp, level, event, *parts]) + "\n")
    sys.stderr.flush()
