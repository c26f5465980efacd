-- Saved state of a shard, which has seen this flush. Expects the primary key.
INSERT INTO detector_state (shard, flush, body) VALUES (%(shard)s, %(flush)s, %(body)s)
ON CONFLICT (shard) DO UPDATE SET flush = excluded.flush, body = excluded.body, saved_at = now()
