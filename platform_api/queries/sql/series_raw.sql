-- Observations of one device, oldest first. device_id: int; from_at, to_at: timestamptz, from_at <= observed_at < to_at; most: rows.
-- columns: the properties; observations: observation_<kind>. Index: partitions by time, then BRIN (observed_at) or btree (device_id, observed_at).
SELECT observed_at, {columns} FROM {observations}
WHERE device_id = %(device_id)s AND observed_at >= %(from_at)s AND observed_at < %(to_at)s
ORDER BY observed_at
LIMIT %(most)s
