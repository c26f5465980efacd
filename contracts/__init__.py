"""The shared language of the services: kinds, wire, topics, cursor, configuration. Nothing here opens a socket."""
