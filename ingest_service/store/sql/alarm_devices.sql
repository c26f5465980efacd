-- What groups and windows go by, of devices. devices: int[]. Expects the primary keys of device and agent.
SELECT d.device_id, d.name, d.kind, d.attributes ->> 'circuit', d.agent_id, a.name
FROM device d LEFT JOIN agent a USING (agent_id)
WHERE d.device_id = ANY (%(devices)s)
