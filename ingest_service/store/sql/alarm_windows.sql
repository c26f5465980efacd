-- Maintenance windows of municipalities that touch a span. municipalities: text[]; from_ms, to_ms: ms since 1970 UTC.
-- Expects maintenance_window_ends (municipality, ends_at).
SELECT window_id, municipality, scope, target, (extract(epoch FROM begins_at) * 1000)::bigint, (extract(epoch FROM ends_at) * 1000)::bigint
FROM maintenance_window
WHERE municipality = ANY (%(municipalities)s) AND begins_at <= to_timestamp(%(to_ms)s / 1000.0) AND ends_at > to_timestamp(%(from_ms)s / 1000.0)
ORDER BY window_id
