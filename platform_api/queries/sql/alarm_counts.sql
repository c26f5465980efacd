-- Alarms by state. permitted: text[] or null (all); municipality, detector, kind, assigned_to: text or null; severities: int[] or
-- null; causes: text[] or null; device_id: int or null; member_of: alarm_id of a group alarm or null; folded: bool, members as well.
-- Index: alarm (device_id) for one device, alarm_parent for the members of a group, otherwise the table is counted.
SELECT state, count(*) AS n FROM alarm
WHERE (%(permitted)s::text[] IS NULL OR municipality = ANY (%(permitted)s))
  AND (%(municipality)s::text IS NULL OR municipality = %(municipality)s)
  AND (%(severities)s::int[] IS NULL OR severity = ANY (%(severities)s))
  AND (%(detector)s::text IS NULL OR detector = %(detector)s)
  AND (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(assigned_to)s::text IS NULL OR assigned_to = %(assigned_to)s)
  AND (%(causes)s::text[] IS NULL OR cause = ANY (%(causes)s))
  AND (%(device_id)s::int IS NULL OR device_id = %(device_id)s)
  AND (%(member_of)s::bigint IS NULL OR parent_id = %(member_of)s)
  AND (%(folded)s OR parent_id IS NULL)
GROUP BY state
