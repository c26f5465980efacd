-- Observations of one device, oldest first, as packed columns; null in each when there are none.
-- device_id: int; from_at, to_at: timestamptz, from_at <= observed_at < to_at; most: rows.
-- columns: the properties; packed: the same, packed; observations: observation_<kind>.
-- Index: partitions by time, then <partition>_hot, BRIN (observed_at, device_id by Bloom filter: of int only) while hot, and
-- <partition>_device (device_id) when closed.
SELECT string_agg(timestamptz_send(n.observed_at), ''::bytea) AS observed_at{packed}
FROM (SELECT observed_at{columns} FROM {observations}
      WHERE device_id = %(device_id)s::int AND observed_at >= %(from_at)s AND observed_at < %(to_at)s
      ORDER BY observed_at
      LIMIT %(most)s) n
