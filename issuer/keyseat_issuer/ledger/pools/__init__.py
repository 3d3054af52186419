"""Pools of seats: the counters under their locks, and the session rows that count in them."""
