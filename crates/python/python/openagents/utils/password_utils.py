"""Passwords of agent groups."""

from __future__ import annotations

import hashlib
import hmac

from openagents.errors import InvalidInputError

__all__ = ["hash_password", "verify_password"]


def hash_password(password: str) -> str:
    """The lower-case hex SHA-256 of a password, as a configuration names it and `password_hash=` takes it.

    ```python
    await client.connect_to_server("localhost", 8700, password_hash=hash_password("secret"))
    ```
    """
    if not password:
        raise InvalidInputError("the password is empty", code="invalid_field", field="password")
    return hashlib.sha256(password.encode()).hexdigest()


def verify_password(password: str, password_hash: str) -> bool:
    """Whether a password has this hash."""
    return hmac.compare_digest(hash_password(password), password_hash.lower())
