-- Times in which no device of a kind of one agent had an observation. agent_id: int; kind: text; from_at, to_at: timestamptz;
-- edge: timestamptz, up to which the rollup is closed (from_at: observations only); gap_s: seconds, longer is a silence.
-- Index: rollup (device_id, bucket), primary; observation_<kind> by time; rollup_due is small.
WITH fleet AS (SELECT device_id FROM device WHERE agent_id = %(agent_id)s AND kind = %(kind)s),
due AS (
    SELECT DISTINCT hour AS begin_at, hour + interval '1 hour' AS end_at FROM rollup_due
    WHERE kind = %(kind)s AND hour >= date_trunc('hour', %(from_at)s::timestamptz) AND hour < least(%(to_at)s, %(edge)s)
), spoken AS (
    SELECT bucket AS spoken_at FROM {rollup} JOIN fleet USING (device_id)
    WHERE bucket >= %(from_at)s AND bucket < least(%(to_at)s, %(edge)s)
    UNION
    SELECT observed_at FROM due JOIN {observations} ON observed_at >= due.begin_at AND observed_at < due.end_at JOIN fleet USING (device_id)
    WHERE observed_at >= %(from_at)s AND observed_at < least(%(to_at)s, %(edge)s)
    UNION
    SELECT observed_at FROM {observations} JOIN fleet USING (device_id)
    WHERE observed_at >= greatest(%(from_at)s, %(edge)s) AND observed_at < %(to_at)s
), followed AS (SELECT spoken_at, lead(spoken_at) OVER (ORDER BY spoken_at) AS next_at FROM spoken)
SELECT spoken_at AS begin_at, next_at AS end_at FROM followed
WHERE next_at - spoken_at > make_interval(secs => %(gap_s)s)
ORDER BY 1
