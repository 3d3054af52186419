"""Seats: assigning, transferring, renewing, and how they are used."""
