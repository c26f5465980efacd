-- A file is taken in to its end.
-- Parameters: hash text. Expects the primary key.
UPDATE import_file SET ended_at = coalesce(ended_at, now()) WHERE content_hash = %(hash)s
