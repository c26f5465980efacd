-- Journal entries of a flush. shards smallint[], bodies bytea[].
INSERT INTO detector_journal (shard, flush, body)
SELECT shard, %(flush)s, body FROM unnest(%(shards)s::smallint[], %(bodies)b::bytea[]) AS k (shard, body)
