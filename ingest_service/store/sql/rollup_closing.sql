-- Before when an observation of each kind is late. Waits for the roller while it moves that, and keeps it from moving until the
-- transaction ends. No parameters; one row a kind.
SELECT kind, closing_ms FROM rollup_closing()
