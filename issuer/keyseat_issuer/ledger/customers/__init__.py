"""Customers: accounts, organisations, members and their rights, invitations, subscriptions, API keys."""
