"""The audit log: a chained row for every act and refusal, and the check of the whole ledger against it."""
