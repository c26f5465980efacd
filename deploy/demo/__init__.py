"""`dure demo`: a whole city on one machine, made of the same processes that run in a real one."""
