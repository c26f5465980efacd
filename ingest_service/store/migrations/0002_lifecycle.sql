-- What `dure import` has taken in, and from which backups this schema came. Forward only.

-- A file is known by its content. Its parts are stored in order, each in the transaction of its rows: an import that was
-- cut short continues behind the last, and the same file again stores nothing.
CREATE TABLE import_file (
    content_hash    text PRIMARY KEY,
    name            text NOT NULL,
    kind            text NOT NULL,
    part_rows       int NOT NULL,
    began_at        timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz
);
CREATE TABLE import_part (
    content_hash    text NOT NULL REFERENCES import_file (content_hash),
    part            int NOT NULL,
    stored          int NOT NULL,
    refused         int NOT NULL,
    present         int NOT NULL,
    imported_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (content_hash, part)
);

-- A row for each restoration this schema has been through; the newest tells a process whose memory mirrors the tables
-- that they are not the ones it knew.
CREATE TABLE restoration (
    restoration_id  uuid PRIMARY KEY,
    restored_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    backup_made_at  timestamptz NOT NULL,
    backup          text NOT NULL
);
