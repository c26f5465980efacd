-- Storage goes on while detection catches up: what was stored meanwhile is not examined yet. Forward only.

-- examined: whether the findings of this entry's flush are alarms already.
ALTER TABLE detector_journal ADD COLUMN examined boolean NOT NULL DEFAULT true;
