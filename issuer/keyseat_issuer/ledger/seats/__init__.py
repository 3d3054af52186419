"""Seats: pools and their counters, assigning, transferring, renewing, and how they are used."""
