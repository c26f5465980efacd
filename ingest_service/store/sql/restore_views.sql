-- Views of a schema: on TimescaleDB, its continuous aggregates.
-- Parameters: schema text.
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s AND c.relkind = 'v'
