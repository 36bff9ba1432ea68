"""Promotion: from a completed run to a config that is disabled, for evaluation, unapproved."""
