-- (table, column, type) of what a backup saves, in the tables' own order of columns; a domain as what it is of.
-- Parameters: names text[], left out. What the rewriting of a partition left behind (..._next, _late) is no part of it.
SELECT c.relname, a.attname, format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), a.atttypmod)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition
  AND (c.relkind IN ('r', 'p') OR (c.relkind = 'v' AND c.relname ~ '^rollup_'))
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND c.relname <> ALL (%s) AND c.relname !~ '^(observation|rollup)_.*_p[0-9]{10}_(next|late)$'
ORDER BY c.relname, a.attnum
