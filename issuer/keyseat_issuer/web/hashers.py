"""How passwords are hashed."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2(Argon2PasswordHasher):
    """Argon2id at OWASP's first choice: 19 MiB, two passes, one lane.

    Django's default takes 100 MiB and eight lanes a sign-in: a few dozen at once would exhaust a small server.
    Source: OWASP Password Storage Cheat Sheet.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
