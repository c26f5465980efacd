-- What was counted only, because its agent's quarantine was full. permitted: text[] or null (all); agent: name or null.
-- Index: none; one row an agent and reason.
SELECT r.agent_id, a.name AS agent, r.reason, r.observations
FROM quarantine_refused r JOIN agent a USING (agent_id)
WHERE (%(permitted)s::text[] IS NULL OR a.municipality = ANY (%(permitted)s))
  AND (%(agent)s::text IS NULL OR a.name = %(agent)s)
ORDER BY r.agent_id, r.reason
