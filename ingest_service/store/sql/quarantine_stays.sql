-- An observation that still cannot be admitted: why, and the request is taken away.
UPDATE quarantine SET reason = %(reason)s, detail = %(detail)s, admit_requested_at = NULL WHERE quarantine_id = %(id)s
