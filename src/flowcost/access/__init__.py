"""Who asks, and what they may see: principals, roles, tokens, scopes, the audit log."""
