"""The administration API: an organisation's owners and admins, and their programs."""
