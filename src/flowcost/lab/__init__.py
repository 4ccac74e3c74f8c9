"""A cluster in network namespaces, in which the agent is proven against the wire."""
