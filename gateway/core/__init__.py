"""All decisions, without input, output or clock."""
