"""One MQTT 3.1.1 CONNECT by hand: is a broker there, and does it know this password?

Thirty lines instead of a client library, because the supervisor may have no second thread (a child started from a
process with threads can inherit a held lock).
"""

import socket
from enum import Enum

KEEP_ALIVE_S = 10


class Answer(Enum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    ABSENT = "absent"  # nobody listens
    MUTE = "mute"  # somebody listens and says nothing


def connect_packet(client_id: str, username: str, password: str) -> bytes:
    """CONNECT with a clean session (MQTT 3.1.1, section 3.1)."""
    body = _text("MQTT") + bytes([4, 0b1100_0010]) + KEEP_ALIVE_S.to_bytes(2, "big")
    body += _text(client_id) + _text(username) + _text(password)
    length = len(body)
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([0x10]) + bytes(encoded) + body


def sign_in(host: str, port: int, *, client_id: str, username: str, password: str, timeout_s: float) -> Answer:
    """Connect, read the CONNACK, leave in order."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(connect_packet(client_id, username, password))
            answer = b""
            while len(answer) < 4 and (more := connection.recv(4 - len(answer))):
                answer += more
            if answer != b"\x20\x02\x00\x00":
                return Answer.REFUSED
            connection.sendall(b"\xe0\x00")  # DISCONNECT
            return Answer.ACCEPTED
    except TimeoutError:
        return Answer.MUTE
    except ConnectionRefusedError:
        return Answer.ABSENT
    except OSError:
        return Answer.REFUSED


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded
