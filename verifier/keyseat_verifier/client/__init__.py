"""The client a program embeds: files, clock, trust, sessions, and what entitles it."""
