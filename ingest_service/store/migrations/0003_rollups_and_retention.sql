-- Rollups that take late data a device at a time, closed partitions, retention.

-- Hours that late observations touched, of these devices (null: of all): appended by a flush, taken away by the roller.
ALTER TABLE rollup_due ADD COLUMN devices int[];
CREATE INDEX rollup_due_hour ON rollup_due (kind, hour);

-- closed_until: hours before it are rolled up. closing_until: what lies before it counts as late; never below closed_until.
-- days_until: days before it are rolled up.
ALTER TABLE rollup_watermark ADD COLUMN closing_until timestamptz, ADD COLUMN days_until timestamptz;
UPDATE rollup_watermark SET closing_until = closed_until;
ALTER TABLE rollup_watermark ALTER COLUMN closed_until DROP NOT NULL;

-- What counts as late in this transaction. The roller moves closing_until with the same lock held exclusively: a flush either
-- has committed by then, and is rolled up, or sees the new value, and marks what it brings.
CREATE FUNCTION rollup_closing() RETURNS TABLE (kind text, closing_ms bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1146442313, hashtext(current_schema()));
    RETURN QUERY SELECT w.kind, (extract(epoch FROM w.closing_until) * 1000)::bigint FROM rollup_watermark w
                 WHERE w.closing_until IS NOT NULL;
END $$;

-- Partitions of observations that were rewritten in (device, time) order, and how many pages they had then.
CREATE TABLE closed_partition (
    name        text PRIMARY KEY,
    kind        text NOT NULL,
    closed_at   timestamptz NOT NULL DEFAULT now(),
    pages       bigint NOT NULL
);

-- While a partition is rewritten, rows that it still gets are kept in <name>_late as well. Argument: the columns, so that it does
-- not fail when a migration adds one meanwhile (then the rewrite begins anew).
CREATE FUNCTION keep_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.%I (%s) SELECT %s FROM (SELECT ($1).*) AS late',
                   TG_TABLE_SCHEMA, TG_TABLE_NAME || '_late', TG_ARGV[0], TG_ARGV[0]) USING NEW;
    RETURN NULL;
END $$;

-- How long observations and rollups are kept. municipality '': all that have no row of their own. Null: for ever.
CREATE TABLE retention (
    kind            text NOT NULL,
    municipality    text NOT NULL DEFAULT '',
    keep            interval,
    keep_rollups    interval CHECK (keep_rollups >= keep),
    changed_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, municipality)
);
-- Up to when observations went, or are going: such an hour is never rolled up again. municipality '': whole partitions.
-- deleted_until: they are gone; what comes late for such an hour brings it back.
CREATE TABLE observation_gone (
    kind            text NOT NULL,
    municipality    text NOT NULL DEFAULT '',
    gone_until      timestamptz NOT NULL,
    deleted_until   timestamptz,
    PRIMARY KEY (kind, municipality)
);

-- Means become exact: a month's mean is made of them.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN SELECT table_name, column_name FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name LIKE 'rollup\_%' AND column_name LIKE '%\_mean' AND data_type = 'real'
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE float8', item.table_name, item.column_name);
    END LOOP;
END $$;
