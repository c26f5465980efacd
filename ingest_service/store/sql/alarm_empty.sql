-- Active group alarms whose members are all over: people closed the last. Expects alarm_groups, the partial index of active
-- group alarms, and alarm_parent.
SELECT g.alarm_id, g.municipality FROM alarm g
WHERE g.group_scope IS NOT NULL AND g.state IN ('open', 'acknowledged')
  AND NOT EXISTS (SELECT FROM alarm m WHERE m.parent_id = g.alarm_id AND m.state IN ('open', 'acknowledged'))
