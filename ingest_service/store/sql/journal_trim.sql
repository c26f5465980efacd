-- Drop a shard's journal that its save has seen. Expects the primary key.
DELETE FROM detector_journal WHERE shard = %(shard)s AND flush <= %(flush)s
