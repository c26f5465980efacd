-- The ledger's entry of a file, made when it is not there; how it was begun.
-- Parameters: hash text (sha256 of the content), name text, kind text, part_rows int. Expects the primary key.
WITH made AS (
    INSERT INTO import_file (content_hash, name, kind, part_rows) VALUES (%(hash)s, %(name)s, %(kind)s, %(part_rows)s)
    ON CONFLICT (content_hash) DO NOTHING
    RETURNING kind, part_rows, ended_at
)
SELECT kind, part_rows, ended_at FROM made
UNION ALL
SELECT kind, part_rows, ended_at FROM import_file WHERE content_hash = %(hash)s
LIMIT 1
