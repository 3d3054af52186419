"""The Django app of the browser side: accounts, signing in, the device grant, invitations, the pages."""
