-- (table, statement): how each table is made, the table itself first, then its keys and indexes. Used for those that no
-- migration makes. Names are unqualified: the schema is the search path. A domain is written as what it is of, so that the
-- table can be made on either database.
-- Parameters: names text[], left out.
WITH chosen AS (
    SELECT oid, relname, relkind, reloptions FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
      AND relname <> ALL (%s) AND relname !~ '^(observation|rollup)_.*_p[0-9]{10}_(next|late)$'
)
SELECT relname, statement FROM (
    SELECT relname, 1 AS place, format('CREATE TABLE %%I (%%s)%%s%%s', relname,
        (SELECT string_agg(
             quote_ident(a.attname) || ' ' || format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), a.atttypmod)
             || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
             || CASE WHEN d.oid IS NULL THEN '' ELSE ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
             ', ' ORDER BY a.attnum)
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE a.attrelid = chosen.oid AND a.attnum > 0 AND NOT a.attisdropped),
        CASE WHEN relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(oid) ELSE '' END,
        CASE WHEN reloptions IS NULL THEN '' ELSE ' WITH (' || array_to_string(reloptions, ', ') || ')' END) AS statement
    FROM chosen
    UNION ALL
    SELECT relname, 2, format('ALTER TABLE %%I ADD CONSTRAINT %%I %%s', relname, conname, pg_get_constraintdef(k.oid))
    FROM chosen JOIN pg_constraint k ON k.conrelid = chosen.oid WHERE k.contype IN ('p', 'u', 'c')
    UNION ALL
    SELECT relname, 3, pg_get_indexdef(i.indexrelid, 0, true)
    FROM chosen JOIN pg_index i ON i.indrelid = chosen.oid
    WHERE NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
) made
ORDER BY relname, place, statement
