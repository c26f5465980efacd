-- The first bucket of a device in a span; null without any. device_id: int; from_at, to_at: timestamptz.
-- rollup: rollup_<unit>_<kind>. Index: (device_id, bucket), primary.
SELECT min(bucket) AS bucket FROM {rollup} WHERE device_id = %(device_id)s AND bucket >= %(from_at)s AND bucket < %(to_at)s
