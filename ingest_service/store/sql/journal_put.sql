-- Journal entries of a flush. shards smallint[], bodies bytea[]; examined: whether its findings are alarms.
INSERT INTO detector_journal (shard, flush, body, examined)
SELECT shard, %(flush)s, body, %(examined)s FROM unnest(%(shards)s::smallint[], %(bodies)b::bytea[]) AS k (shard, body)
