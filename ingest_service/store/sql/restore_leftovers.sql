-- Tables of a schema, partitions first.
-- Parameters: schema text.
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p')
ORDER BY c.relispartition DESC, c.relname
