"""The client side: verify licence files offline, and say why not."""
