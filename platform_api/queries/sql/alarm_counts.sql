-- Alarms by state. permitted: text[] or null (all); municipality, detector: text or null; severities: int[] or null;
-- device_id: int or null. Index: alarm (device_id) for one device, otherwise the table is counted.
SELECT state, count(*) AS n FROM alarm
WHERE (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
  AND (%(municipality)s::text IS NULL OR municipality = %(municipality)s)
  AND (%(severities)s::int[] IS NULL OR severity = ANY (%(severities)s))
  AND (%(detector)s::text IS NULL OR detector = %(detector)s)
  AND (%(device_id)s::int IS NULL OR device_id = %(device_id)s)
GROUP BY state
