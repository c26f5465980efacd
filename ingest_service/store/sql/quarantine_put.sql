-- One entry of quarantine. observed_ms: ms since 1970 UTC or null. bytes: what counts against the agent's room.
INSERT INTO quarantine (municipality, agent_id, topic, epoch, seq, reason, detail, kind, device, observed_at, content, body, observations, bytes)
VALUES (%(municipality)s, %(agent_id)s, %(topic)s, %(epoch)s, %(seq)s, %(reason)s, %(detail)s, %(kind)s, %(device)s,
        to_timestamp(%(observed_ms)s::bigint / 1000.0), %(content)s::jsonb, %(body)s, %(observations)s, %(bytes)s)
