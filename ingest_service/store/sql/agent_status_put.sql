-- The newest word of each agent of a flush. agents int[]; clocks bigint[] ms since 1970 UTC or 0; backlogs bigint[] observations.
-- Expects the primary key of agent_status.
INSERT INTO agent_status (agent_id, seen_at, clock_at, backlog)
SELECT agent_id, now(), CASE WHEN clock_ms > 0 THEN to_timestamp(clock_ms / 1000.0) END, backlog
FROM unnest(%(agents)s::int[], %(clocks)s::bigint[], %(backlogs)s::bigint[]) AS k (agent_id, clock_ms, backlog)
ON CONFLICT (agent_id) DO UPDATE
SET seen_at = excluded.seen_at, clock_at = greatest(agent_status.clock_at, excluded.clock_at), backlog = excluded.backlog
