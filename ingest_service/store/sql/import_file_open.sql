-- The ledger's entry of a file, made when it is not there; how it was begun. An entry that another import has made a moment
-- ago is waited for and seen (DO NOTHING would return no row, and a SELECT beside it have a snapshot from before).
-- Parameters: hash text (sha256 of the content), name text, kind text, part_rows int. Expects the primary key.
INSERT INTO import_file (content_hash, name, kind, part_rows) VALUES (%(hash)s, %(name)s, %(kind)s, %(part_rows)s)
ON CONFLICT (content_hash) DO UPDATE SET content_hash = excluded.content_hash
RETURNING kind, part_rows, ended_at
