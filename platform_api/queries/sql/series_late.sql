-- Whether late observations of closed hours of a device are marked, and not in its rollups yet.
-- kind: text; device_id: int; from_at, to_at: timestamptz. Index: rollup_due (kind, hour).
SELECT EXISTS (
    SELECT FROM rollup_due
    WHERE kind = %(kind)s AND hour >= date_trunc('hour', %(from_at)s::timestamptz) AND hour < %(to_at)s
      AND (devices IS NULL OR %(device_id)s = ANY (devices))
) AS late
