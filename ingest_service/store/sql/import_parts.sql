-- Parts of a file that are stored, and their rows: (part, stored, refused, present).
-- Parameters: hash text. Expects the primary key.
SELECT part, stored, refused, present FROM import_part WHERE content_hash = %(hash)s ORDER BY part
