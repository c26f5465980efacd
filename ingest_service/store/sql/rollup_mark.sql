-- Late observations of a kind, by hour. kind: text; hours: bigint[] in ms since 1970 UTC, devices: int[], a pair each, distinct.
INSERT INTO rollup_due (kind, hour, devices)
SELECT %(kind)s, to_timestamp(hour_ms / 1000.0), array_agg(device) FROM unnest(%(hours)s::bigint[], %(devices)s::int[]) AS k (hour_ms, device) GROUP BY hour_ms
