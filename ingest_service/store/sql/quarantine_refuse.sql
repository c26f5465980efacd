-- Count what quarantine had no room for. agent_id 0: an agent that is not registered. Expects the primary key.
INSERT INTO quarantine_refused (agent_id, reason, observations) VALUES (%(agent_id)s, %(reason)s, %(observations)s)
ON CONFLICT (agent_id, reason) DO UPDATE SET observations = quarantine_refused.observations + excluded.observations
