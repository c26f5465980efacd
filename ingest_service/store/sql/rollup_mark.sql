-- Hours that a flush wrote to. kinds text[], hours bigint[] in ms since 1970 UTC.
INSERT INTO rollup_due (kind, hour) SELECT kind, to_timestamp(hour_ms / 1000.0) FROM unnest(%(kinds)s::text[], %(hours)s::bigint[]) AS k (kind, hour_ms)
