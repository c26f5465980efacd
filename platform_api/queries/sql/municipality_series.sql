-- The mean, least and greatest of a municipality's devices of one kind over time: from the rollup where it is closed, beyond
-- it from observations. What came late shows when the roller has taken it (within a minute or so).
-- municipality, kind: text; from_at, to_at: timestamptz, from_at at the start of a bucket; edge: timestamptz, up to which the
-- rollup is closed, at the start of an hour or from_at; width: interval of the answer's buckets, a multiple of an hour.
-- rolled, tail: each property's columns, begun by a comma; merged: the properties over the answer's buckets; rollup:
-- rollup_municipality_hour_<kind>; observations: observation_<kind>.
-- Index: rollup_municipality_hour_<kind> (municipality, bucket), primary; of the open hours observation_<kind>'s BRIN
-- (observed_at), and device_town (municipality, kind, device_id).
WITH closed AS (
    SELECT bucket, devices, observations{rolled} FROM {rollup}
    WHERE municipality = %(municipality)s AND bucket >= %(from_at)s AND bucket < least(%(to_at)s, %(edge)s)
), open AS (
    SELECT date_bin('1 hour', observed_at, 'epoch') AS bucket, count(DISTINCT device_id)::int AS devices, count(*) AS observations{tail}
    FROM {observations}
    WHERE observed_at >= greatest(%(from_at)s, %(edge)s) AND observed_at < %(to_at)s
      AND device_id IN (SELECT device_id FROM device WHERE municipality = %(municipality)s AND kind = %(kind)s)
    GROUP BY 1
), parts AS (SELECT * FROM closed UNION ALL SELECT * FROM open)
SELECT date_bin(%(width)s, bucket, 'epoch') AS observed_at, max(devices) AS devices, sum(observations)::bigint AS observations{merged}
FROM parts GROUP BY 1 ORDER BY 1
