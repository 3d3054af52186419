"""The console: an organisation's licences in the browser, for its owners and admins."""
