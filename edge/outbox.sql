-- The outbox. One writer; `dure edge status` reads beside it. Times are ms since 1970 UTC.
-- batch.place = epoch.ordinal << 32 | seq: the oldest batch is the lowest place, and SQLite keeps rows in that order.
CREATE TABLE IF NOT EXISTS epoch (
    ordinal     INTEGER PRIMARY KEY,          -- in the order of opening; the highest is the live one
    epoch       INTEGER NOT NULL UNIQUE,      -- random, 63 bits; what the platform knows
    next_seq    INTEGER NOT NULL,             -- of the next batch to seal
    next_number INTEGER NOT NULL,             -- of the next observation to seal
    committed   INTEGER NOT NULL              -- last cursor heard; may lag behind, then a few batches are sent again
);
CREATE TABLE IF NOT EXISTS batch (
    place    INTEGER PRIMARY KEY,
    first    INTEGER NOT NULL,
    count    INTEGER NOT NULL,                -- 0: the observations were dropped, the batch says so
    clock_ms INTEGER NOT NULL,
    taken_ms INTEGER NOT NULL,
    body     BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS pending (          -- stored and not yet sealed; together they always fit into one batch
    id       INTEGER PRIMARY KEY,
    count    INTEGER NOT NULL,
    clock_ms INTEGER NOT NULL,
    taken_ms INTEGER NOT NULL,
    columns  BLOB NOT NULL                    -- JSON
);
CREATE TABLE IF NOT EXISTS source (           -- written with the observations: where a source resumes
    source TEXT PRIMARY KEY,
    number INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
