-- Names of agents. agents: int[]. Expects the primary key of agent.
SELECT agent_id, name FROM agent WHERE agent_id = ANY (%(agents)s)
