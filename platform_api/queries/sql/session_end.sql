-- Ends a session. token_hash: bytea. Index: session (token_hash), primary.
DELETE FROM session WHERE token_hash = %(token_hash)s
