"""Online sessions: the desk, its turns, and how sessions end."""
