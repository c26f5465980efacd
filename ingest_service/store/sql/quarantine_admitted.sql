-- Mark observations as admitted; only once. ids bigint[]. Expects the primary key.
UPDATE quarantine SET admitted_at = now() WHERE quarantine_id = ANY(%(ids)s::bigint[]) AND admitted_at IS NULL
