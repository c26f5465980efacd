-- What `dure migrate` has made: the newest migration, and the kinds with tables. No parameters. Index: none; a few rows.
SELECT (SELECT coalesce(max(version), 0) FROM schema_version) AS version,
       (SELECT coalesce(array_agg(kind), '{{}}') FROM profile) AS kinds
