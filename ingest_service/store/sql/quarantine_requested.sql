-- Observations that somebody asked to admit, locked for this transaction. Expects the index quarantine_requested.
SELECT quarantine_id, agent_id, content FROM quarantine
WHERE admit_requested_at IS NOT NULL AND admitted_at IS NULL
ORDER BY quarantine_id LIMIT 500 FOR UPDATE
