-- What a chart needs to know of one device. permitted: text[] or null (all); device_id: int.
-- newest: the time of device d's newest observation, whatever its kind; one primary-key look-up.
-- Index: device (device_id), primary; newest_<kind> (device_id), primary.
SELECT d.device_id, d.kind, d.agent_id, coalesce(d.attributes, '{{}}'::jsonb) AS attributes, {newest} AS observed_at
FROM device d
WHERE d.device_id = %(device_id)s::int AND (%(permitted)s::text[] IS NULL OR d.municipality = ANY (%(permitted)s))
