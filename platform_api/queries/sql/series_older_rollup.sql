-- Whether a device has rollups in a span of which observations are gone. device_id: int; from_at, to_at: timestamptz.
-- Index: rollup_hour_<kind> (device_id, bucket), primary.
SELECT min(bucket) AS bucket FROM {rollup} WHERE device_id = %(device_id)s AND bucket >= %(from_at)s AND bucket < %(to_at)s
