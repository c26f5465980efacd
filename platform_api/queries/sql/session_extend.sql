-- Slides a session's end. token_hash: bytea, lifetime_s: seconds from now. Index: session (token_hash), primary.
UPDATE session SET expires_at = now() + make_interval(secs => %(lifetime_s)s)
WHERE token_hash = %(token_hash)s
RETURNING expires_at
