-- The newest word of agents. agents int[]; seen timestamptz[]; clocks timestamptz[], null when the agent said none; backlogs bigint[] observations.
-- Expects the primary key of agent_status.
INSERT INTO agent_status (agent_id, seen_at, clock_at, backlog)
SELECT agent_id, seen_at, clock_at, backlog
FROM unnest(%(agents)s::int[], %(seen)s::timestamptz[], %(clocks)s::timestamptz[], %(backlogs)s::bigint[]) AS k (agent_id, seen_at, clock_at, backlog)
ON CONFLICT (agent_id) DO UPDATE
SET seen_at = excluded.seen_at, clock_at = greatest(agent_status.clock_at, excluded.clock_at), backlog = excluded.backlog
