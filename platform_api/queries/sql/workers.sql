-- Ingest workers heard of in the last minute. No parameters. Index: none; one row a worker.
SELECT worker, started_at, seen_at, coalesce(counters, '{{}}'::jsonb) AS counters
FROM ingest_worker WHERE seen_at > now() - interval '60 seconds' ORDER BY worker
