-- How far apart an agent's reports of a kind usually are: the 90th percentile, in seconds; null with too few.
-- agent_id: int; kind: text; from_at, to_at: timestamptz. Index: observation_<kind> by time.
WITH fleet AS (SELECT device_id FROM device WHERE agent_id = %(agent_id)s AND kind = %(kind)s),
spoken AS (
    SELECT DISTINCT date_trunc('minute', observed_at) AS spoken_at FROM {observations} JOIN fleet USING (device_id)
    WHERE observed_at >= %(from_at)s AND observed_at < %(to_at)s
), apart AS (SELECT extract(epoch FROM spoken_at - lag(spoken_at) OVER (ORDER BY spoken_at))::float8 AS interval_s FROM spoken)
SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY interval_s) AS interval_s FROM apart HAVING count(interval_s) >= 8
