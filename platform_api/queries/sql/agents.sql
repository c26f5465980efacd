-- Agents with their health; counters are sums over the agent's outbox epochs, in observations.
-- permitted: text[] or null (all); silent_after_s: seconds since the last word; behind_backlog: observations.
-- Index: cursor (agent_id, epoch), primary; device and agent_status are read whole.
SELECT a.agent_id, a.name AS agent, a.municipality, a.replay,
       CASE WHEN s.seen_at IS NULL THEN 'never'
            WHEN s.seen_at < now() - make_interval(secs => %(silent_after_s)s) THEN 'silent'
            WHEN s.backlog > %(behind_backlog)s THEN 'behind'
            ELSE 'ok' END AS state,
       s.seen_at, s.clock_at, s.backlog,
       coalesce(c.received, 0)::bigint AS received, coalesce(c.committed, 0)::bigint AS committed,
       coalesce(c.duplicate, 0)::bigint AS duplicate, coalesce(c.out_of_order, 0)::bigint AS out_of_order,
       coalesce(c.quarantined, 0)::bigint AS quarantined, coalesce(c.lost, 0)::bigint AS lost,
       coalesce(d.devices, 0) AS devices
FROM agent a
LEFT JOIN agent_status s USING (agent_id)
LEFT JOIN (SELECT agent_id, sum(received) AS received, sum(committed) AS committed, sum(duplicate) AS duplicate,
                  sum(out_of_order) AS out_of_order, sum(quarantined) AS quarantined, sum(lost) AS lost
           FROM cursor GROUP BY agent_id) c USING (agent_id)
LEFT JOIN (SELECT agent_id, count(*) AS devices FROM device GROUP BY agent_id) d USING (agent_id)
WHERE (%(permitted)s::text[] IS NULL OR a.municipality = ANY (%(permitted)s))
ORDER BY a.municipality, a.name
