"""Password hashes: scrypt of the standard library, written as `scrypt$<n>$<r>$<p>$<salt>$<hash>` (base64).

Owns the format. `verify` takes as long for an account that does not exist as for one that does.
"""

import base64
import hashlib
import hmac
import secrets

N, R, P = 2**14, 8, 1  # OWASP's cheatsheet allows N=2^14 with r=8, p=5; one lane keeps a small server at ~50 ms
MIN_LENGTH, MAX_LENGTH = 8, 256


def hashed(password: str, salt: bytes | None = None) -> str:
    """The hash that is stored; raises ValueError for a password that is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise ValueError(
            f"cannot use this password: it has {len(password)} characters, {MIN_LENGTH} to {MAX_LENGTH} go"
        )
    salt = salt or secrets.token_bytes(16)
    digest = hashlib.scrypt(password.encode(), salt=salt, n=N, r=R, p=P, dklen=32)
    return f"scrypt${N}${R}${P}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify(password: str, stored: str | None) -> bool:
    """Whether `password` made `stored`; with None (no such account) the same work, then False."""
    known = stored is not None
    try:
        scheme, n, r, p, salt, digest = (stored or _NOBODY).split("$")
        if scheme != "scrypt":
            raise ValueError(scheme)
        expected = base64.b64decode(digest, validate=True)
        found = hashlib.scrypt(
            password.encode()[: 4 * MAX_LENGTH],
            salt=base64.b64decode(salt, validate=True),
            n=int(n),
            r=int(r),
            p=int(p),
            dklen=len(expected),
            maxmem=128 * 1024 * 1024,
        )
    except (ValueError, OverflowError):
        return False
    return hmac.compare_digest(found, expected) and known


_NOBODY = hashed(secrets.token_urlsafe(16))
