"""The HTTP API under `/v1`: one table of endpoints, one error shape."""
