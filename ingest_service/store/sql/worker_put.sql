-- What a worker says of itself. counters jsonb. Expects the primary key.
INSERT INTO ingest_worker (worker, counters) VALUES (%(worker)s, %(counters)s)
ON CONFLICT (worker) DO UPDATE SET seen_at = now(), counters = excluded.counters
