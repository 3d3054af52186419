"""Verifying: licence files and leases, step by step."""
