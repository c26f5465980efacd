-- As series_rollup, for a device that late observations of closed hours are marked of: those hours are worked out from
-- observations too. All partitions of the span are planned for, which takes longer than everything else.
-- device_id: int; kind: text; from_at, to_at: timestamptz, from_at at the start of a bucket; edge: timestamptz, up to which the rollup
-- is closed, at the start of an hour or from_at; unit: interval of the rollup; width: interval of the answer's buckets, a multiple of it.
-- rolled, tail: each property's columns; merged: the properties over the answer's buckets (means weighted by the values they were made of);
-- listed: the same as arrays.
-- Index: rollup_<unit>_<kind>'s partitions (device_id, bucket), primary; observation_<kind> as in series_raw; rollup_due (kind, hour).
WITH due AS (
    SELECT DISTINCT date_bin(span, hour, 'epoch') AS begin_at, date_bin(span, hour, 'epoch') + span AS end_at
    FROM rollup_due, greatest(%(unit)s, interval '1 hour') AS span
    WHERE kind = %(kind)s AND (devices IS NULL OR %(device_id)s = ANY(devices))
      AND hour >= date_trunc('hour', %(from_at)s::timestamptz) AND hour < least(%(to_at)s, %(edge)s)
), closed AS (
    SELECT bucket, observations, {rolled} FROM {rollup} r
    WHERE device_id = %(device_id)s AND bucket >= %(from_at)s AND bucket < least(%(to_at)s, %(edge)s)
      AND NOT EXISTS (SELECT FROM due WHERE r.bucket >= due.begin_at AND r.bucket < due.end_at)
), late AS (
    SELECT date_bin(%(unit)s, observed_at, 'epoch') AS bucket, count(*)::int AS observations, {tail}
    FROM due JOIN {observations} ON observed_at >= due.begin_at AND observed_at < due.end_at
    WHERE device_id = %(device_id)s::int AND observed_at >= %(from_at)s AND observed_at < least(%(to_at)s, %(edge)s)
    GROUP BY 1
), open AS (
    SELECT date_bin(%(unit)s, observed_at, 'epoch') AS bucket, count(*)::int AS observations, {tail} FROM {observations}
    WHERE device_id = %(device_id)s::int AND observed_at >= greatest(%(from_at)s, %(edge)s) AND observed_at < %(to_at)s
    GROUP BY 1
), parts AS (SELECT * FROM closed UNION ALL SELECT * FROM late UNION ALL SELECT * FROM open),
buckets AS (SELECT date_bin(%(width)s, bucket, 'epoch') AS observed_at, {merged} FROM parts GROUP BY 1 ORDER BY 1)
SELECT array_to_json(array_agg((extract(epoch FROM observed_at) * 1000)::bigint))::text AS observed_at, {listed} FROM buckets
