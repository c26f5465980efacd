-- Suppressed alarms that their maintenance window does not hold back any more: it is over, gone, or has become another one.
-- most: rows. Expects alarm_suppressed, the primary keys of maintenance_window, device and agent.
WITH held AS (
    SELECT DISTINCT window_id FROM alarm WHERE state = 'suppressed'
), looked AS (
    SELECT held.window_id, w.scope, w.target, w.begins_at, coalesce(w.ends_at > now(), false) AS lasts
    FROM held LEFT JOIN maintenance_window w USING (window_id)
    WHERE w.window_id IS NULL OR w.ends_at <= now() OR w.changed_at > w.created_at
)
SELECT al.alarm_id, al.municipality, al.device_id, al.agent_id, al.kind, al.condition, al.detector, al.property, al.severity,
       (extract(epoch FROM al.last_finding_at) * 1000)::bigint
FROM looked JOIN alarm al USING (window_id)
LEFT JOIN device d ON d.device_id = al.device_id
LEFT JOIN agent a ON a.agent_id = al.agent_id
WHERE al.state = 'suppressed'
  AND NOT (looked.lasts AND looked.begins_at <= greatest(now(), al.last_finding_at)
           AND CASE looked.scope WHEN 'municipality' THEN true WHEN 'kind' THEN looked.target IS NOT DISTINCT FROM al.kind
                                 WHEN 'circuit' THEN looked.target IS NOT DISTINCT FROM al.circuit
                                 WHEN 'agent' THEN looked.target IS NOT DISTINCT FROM a.name ELSE looked.target IS NOT DISTINCT FROM d.name END)
ORDER BY al.alarm_id
LIMIT %(most)s
