-- Enter a part; no row when it was stored before. A second import of the same file waits here for the first.
-- Parameters: hash text, part int, stored, refused, present int (rows). Expects the primary key.
INSERT INTO import_part (content_hash, part, stored, refused, present)
VALUES (%(hash)s, %(part)s, %(stored)s, %(refused)s, %(present)s)
ON CONFLICT (content_hash, part) DO NOTHING
RETURNING part
