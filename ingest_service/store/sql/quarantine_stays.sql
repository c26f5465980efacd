-- An observation that still cannot be admitted: why (reason null: as before), and the request is taken away.
UPDATE quarantine SET reason = coalesce(%(reason)s, reason), detail = %(detail)s, admit_requested_at = NULL WHERE quarantine_id = %(id)s
