-- Journal entries of some shards (smallint[]) after a flush each (bigint[]), a flush after the other. By the primary key.
SELECT j.flush, j.examined, j.body
FROM unnest(%(shards)s::smallint[], %(flushes)s::bigint[]) AS seen (shard, flush)
JOIN detector_journal j ON j.shard = seen.shard AND j.flush > seen.flush
ORDER BY j.flush, j.shard
