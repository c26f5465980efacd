-- The devices of a kind that have a place, as packed columns (big-endian, one item a device, all in the same order), one row
-- a municipality. municipalities: text[]; kind: text. An agent that is not there is 0.
-- Index: device_town (municipality, kind).
SELECT municipality, string_agg(int4send(device_id), ''::bytea) AS device_id, array_agg(name) AS device,
       string_agg(int4send(coalesce(agent_id, 0)), ''::bytea) AS agent_id,
       string_agg(float8send(longitude), ''::bytea) AS longitude, string_agg(float8send(latitude), ''::bytea) AS latitude,
       floor(extract(epoch FROM max(registered_at)) * 1000)::bigint AS registered_at
FROM device
WHERE municipality = ANY (%(municipalities)s) AND kind = %(kind)s AND longitude IS NOT NULL AND latitude IS NOT NULL
GROUP BY municipality
