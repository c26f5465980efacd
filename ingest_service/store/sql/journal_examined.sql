-- The findings of these shards' (smallint[]) flushes up to this one are alarms now.
UPDATE detector_journal SET examined = true WHERE shard = ANY(%(shards)s::smallint[]) AND flush <= %(flush)s AND NOT examined
