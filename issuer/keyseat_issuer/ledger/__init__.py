"""The ledger: who has how many seats, which are taken, and what was done, when, by whom."""
