"""The closed list of reasons for which a service is not ready, the part each is about, and what each means in words."""

from enum import StrEnum


class Part(StrEnum):
    ALARMS = "alarms"
    BROKER = "broker"
    DATABASE = "database"
    DETECTION = "detection"
    INBOX = "inbox"
    ROLLUPS = "rollups"
    ROUND = "round"


class Reason(StrEnum):
    STARTING = "starting"
    NO_BROKER = "no_broker"
    BROKER_REFUSES = "broker_refuses"
    NO_DATABASE = "no_database"
    DATABASE_READ_ONLY = "database_read_only"
    DISK_FULL = "disk_full"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    LOCKED = "locked"
    TOO_SLOW = "too_slow"
    SCHEMA_MISSING = "schema_missing"
    SCHEMA_DIFFERS = "schema_differs"
    SHARD_TAKEN = "shard_taken"
    CURSOR_MOVED = "cursor_moved"
    DATABASE_FAILS = "database_fails"
    CATCHING_UP = "catching_up"
    INBOX_FULL = "inbox_full"
    STALLED = "stalled"


MEANS: dict[Reason, str] = {
    Reason.STARTING: "it has not got so far since its start",
    Reason.NO_BROKER: "the broker cannot be reached",
    Reason.BROKER_REFUSES: "the broker refuses the credentials or the subscription",
    Reason.NO_DATABASE: "the database cannot be reached",
    Reason.DATABASE_READ_ONLY: "the database takes no writes: read-only, or a standby",
    Reason.DISK_FULL: "the database's disk is full",
    Reason.TOO_MANY_CONNECTIONS: "the database has no connection left",
    Reason.LOCKED: "another session of the database holds a lock that is waited for",
    Reason.TOO_SLOW: "the database cancelled what took too long",
    Reason.SCHEMA_MISSING: "the database is not migrated to this version: run `dure migrate`",
    Reason.SCHEMA_DIFFERS: "a table or column, or the right to it, is not as `dure migrate` made it",
    Reason.SHARD_TAKEN: "another worker serves a shard of this one",
    Reason.CURSOR_MOVED: "the database is not where memory had it, and is read anew",
    Reason.DATABASE_FAILS: "the database answers with an error of its own",
    Reason.CATCHING_UP: "the detectors go through what was stored since their state was saved",
    Reason.INBOX_FULL: "messages wait for the database up to the limit of bytes; what comes beyond is dropped and sent "
    "again",
    Reason.STALLED: "the round has not turned for a while: a statement or a disk does not answer",
}
