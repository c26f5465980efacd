-- What happened to an alarm, newest first. alarm_id: bigint, of an alarm that the caller may see; most: rows.
-- Index: alarm_event (alarm_id, event_id).
SELECT event_id, at, event, who, observed_at, detail FROM alarm_event
WHERE alarm_id = %(alarm_id)s
ORDER BY event_id DESC
LIMIT %(most)s
