-- The account of a live session. token_hash: bytea (SHA-256). Index: session (token_hash), primary.
SELECT s.expires_at, s.expires_at < now() + make_interval(secs => %(extend_below_s)s) AS extend,
       a.account_id, a.name, a.role, a.municipality, a.language
FROM session s JOIN account a USING (account_id)
WHERE s.token_hash = %(token_hash)s AND s.expires_at > now()
