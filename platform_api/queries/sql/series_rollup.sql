-- Buckets of one device, oldest first, as JSON arrays: from the rollup where it is closed, beyond it from observations.
-- device_id: int; from_at, to_at: timestamptz, from_at at the start of a bucket; edge: timestamptz, up to which the rollup
-- is closed, at the start of an hour or from_at; unit: interval of the rollup; width: interval of the answer's buckets, a multiple of it.
-- rolled, tail: each property's columns; merged: the properties over the answer's buckets (means weighted by the values they were made of);
-- listed: the same as arrays.
-- Index: rollup_<unit>_<kind>'s partitions (device_id, bucket), primary; observation_<kind> as in series_raw.
WITH closed AS (
    SELECT bucket, observations, {rolled} FROM {rollup}
    WHERE device_id = %(device_id)s AND bucket >= %(from_at)s AND bucket < least(%(to_at)s, %(edge)s)
), open AS (
    SELECT date_bin(%(unit)s, observed_at, 'epoch') AS bucket, count(*)::int AS observations, {tail} FROM {observations}
    WHERE device_id = %(device_id)s::int AND observed_at >= greatest(%(from_at)s, %(edge)s) AND observed_at < %(to_at)s
    GROUP BY 1
), parts AS (SELECT * FROM closed UNION ALL SELECT * FROM open),
buckets AS (SELECT date_bin(%(width)s, bucket, 'epoch') AS observed_at, {merged} FROM parts GROUP BY 1 ORDER BY 1)
SELECT array_to_json(array_agg((extract(epoch FROM observed_at) * 1000)::bigint))::text AS observed_at, {listed} FROM buckets
