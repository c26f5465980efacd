-- Alarms of devices that people closed with a cause: what a replay of history is held against.
-- begin, end: timestamptz or null, when the alarm opened; devices: int[].
-- Index: alarm_device (device_id, opened_at).
SELECT alarm_id, device_id, condition, (extract(epoch FROM opened_at) * 1000)::bigint,
       (extract(epoch FROM coalesce(cleared_at, closed_at, last_finding_at)) * 1000)::bigint, cause
FROM alarm
WHERE device_id = ANY (%(devices)s::int[]) AND cause IS NOT NULL
  AND (%(begin)s::timestamptz IS NULL OR opened_at >= %(begin)s)
  AND (%(end)s::timestamptz IS NULL OR opened_at < %(end)s)
ORDER BY alarm_id
