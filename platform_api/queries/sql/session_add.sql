-- A new session; sweeps expired ones. token_hash: bytea (SHA-256), account_id: int, lifetime_s: seconds.
-- Index: session (token_hash), primary; the sweep reads the whole small table.
WITH swept AS (DELETE FROM session WHERE expires_at < now())
INSERT INTO session (token_hash, account_id, created_at, expires_at)
VALUES (%(token_hash)s, %(account_id)s, now(), now() + make_interval(secs => %(lifetime_s)s))
RETURNING expires_at
