"""From the broker's messages to committed rows, alarms and answered agents."""

from pathlib import Path

from ingest_service.kernels import keep_apart

keep_apart(Path(__file__).parent.parent)
