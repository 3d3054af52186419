"""The audit log: a chained row for every act and refusal, its time, and the trust bundles on record."""
