"""Instants as people write them, into UTC."""

from datetime import UTC, datetime


def parse(text: str) -> datetime:
    """A date, an ISO 8601 time or ms since 1970; without an offset it is UTC. Raises ValueError naming it."""
    try:
        if text.lstrip("-").isdigit() and len(text) > 8:
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"cannot read the time {text!r}: write 2026-11-22, 2026-11-22T09:30+09:00 or ms since 1970"
        ) from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
