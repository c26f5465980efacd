-- Fold under a group's new alarm what is active in the group and in no other; which alarms, of which devices.
-- parent: its alarm_id; scope, municipality, kind (null: agents), key, condition: of the group.
-- Expects alarm_active; alarm_top for the groups of a municipality.
WITH folded AS (
    UPDATE alarm SET parent_id = %(parent)s, changed_at = clock_timestamp()
    WHERE state IN ('open', 'acknowledged') AND municipality = %(municipality)s AND condition = %(condition)s
      AND kind IS NOT DISTINCT FROM %(kind)s AND parent_id IS NULL AND alarm_id <> %(parent)s
      AND CASE %(scope)s::text WHEN 'circuit' THEN group_scope IS NULL AND circuit = %(key)s
                               WHEN 'agent' THEN group_scope IS NULL AND agent_id = nullif(%(key)s, '')::int
                               ELSE group_scope IS DISTINCT FROM 'municipality' END
    RETURNING alarm_id, device_id, agent_id
), told AS (
    INSERT INTO alarm_event (alarm_id, event, detail) SELECT alarm_id, 'grouped', jsonb_build_object('parent_id', %(parent)s::bigint) FROM folded
)
SELECT alarm_id, device_id, agent_id FROM folded
