-- Register an agent, or update it. Expects the unique key (municipality, name).
INSERT INTO agent (municipality, name, replay) VALUES (%(municipality)s, %(agent)s, %(replay)s)
ON CONFLICT (municipality, name) DO UPDATE SET replay = excluded.replay
