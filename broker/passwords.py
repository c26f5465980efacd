"""Random passwords, and the two hashes that the brokers compare them with.

A password is 192 random bits, so a slow hash would protect nothing and only make thousands of agents reconnect slowly:
both hashes run at the lowest cost their formats allow. Passwords never reach a command line or a log.
"""

import base64
import hashlib
import secrets

import bcrypt

PBKDF2_ROUNDS = 101  # what mosquitto_passwd writes by default
BCRYPT_COST = 4  # the format's minimum: about a millisecond a sign-in
SALT_BYTES = 12  # fixed in Mosquitto's $7$ reader


def new_password() -> str:
    return secrets.token_urlsafe(24)


def for_nats(password: str) -> str:
    """bcrypt, in the 2a spelling that Go's library writes itself."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST, b"2a")).decode()


def for_mosquitto(password: str) -> str:
    """PBKDF2-SHA512 in Mosquitto's `$7$rounds$salt$hash`, so that mosquitto_passwd isn't needed."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS)
    return f"$7${PBKDF2_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
