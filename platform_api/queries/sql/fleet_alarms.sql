-- What colours devices: of each with an active alarm the worst severity (0: only silent) and whether it is silent, packed,
-- big-endian; agents that are silent; the newest change of these. One row a municipality that has any. municipalities: text[].
-- Index: alarm_state (state, municipality, alarm_id); alarm_one_open, the partial index of active states, where most are asked for.
WITH active AS MATERIALIZED (
    SELECT municipality, device_id, agent_id, condition, severity, changed_at FROM alarm
    WHERE state IN ('open', 'acknowledged') AND municipality = ANY (%(municipalities)s)
), coloured AS (
    SELECT municipality, device_id, coalesce(max(severity) FILTER (WHERE condition <> 'silent'), 0)::smallint AS worst,
           bool_or(condition = 'silent')::int::smallint AS silent
    FROM active WHERE device_id IS NOT NULL GROUP BY 1, 2
), devices AS (
    SELECT municipality, string_agg(int4send(device_id), ''::bytea) AS device_id, string_agg(int2send(worst), ''::bytea) AS worst,
           string_agg(int2send(silent), ''::bytea) AS silent
    FROM coloured GROUP BY 1
), others AS (
    SELECT municipality, array_agg(DISTINCT agent_id) FILTER (WHERE condition = 'agent_silent' AND agent_id IS NOT NULL) AS silent_agents,
           floor(extract(epoch FROM max(changed_at) FILTER (WHERE device_id IS NOT NULL)) * 1000)::bigint AS changed_at
    FROM active GROUP BY 1
)
SELECT municipality, device_id, worst, silent, coalesce(silent_agents, '{{}}') AS silent_agents, changed_at
FROM others LEFT JOIN devices USING (municipality)
