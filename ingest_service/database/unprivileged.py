"""Starts a program as somebody who is not root, and makes it die with its parent. Runs as a script of its own.

PostgreSQL refuses uid 0, and initdb a uid without a name; yet containers and CI are root, and a checkout may lie where
only root can read. Two ways out, neither of which creates an account or changes a permission on the way to the files:

namespace     a user namespace that shows our own uid under the name of an existing account. The files stay ours.
capabilities  where namespaces are refused: really become that account, keeping CAP_DAC_OVERRIDE and nothing else.
              The data directory must belong to that account (see `owner`).
plain         we are an ordinary user already.

Usage: unprivileged.py MODE PARENT_PID PROGRAM [ARGUMENT…]. Standard library only; exits 71 when the way is barred.
"""

import ctypes
import os
import pwd
import signal
import struct
import sys

MODES = ("plain", "namespace", "capabilities")
BARRED = 71  # EX_OSERR of sysexits.h
ACCOUNTS = ("daemon", "bin")  # in this order; then any. Not "postgres": a server of the machine may run as that
OVERFLOW_UID = 65534  # stands for "not mapped" inside a namespace, so it can not be the one

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 28, 38, 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def has_name(uid: int) -> bool:
    """Whether the user database knows this uid."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def modes(uid: int) -> tuple[str, ...]:
    """The ways worth trying for this uid, best first."""
    if uid != 0 and has_name(uid):
        return ("plain",)
    return ("namespace", "capabilities") if uid == 0 else ("namespace",)


def account() -> pwd.struct_passwd:
    """The existing account that stands in for root."""
    known = {entry.pw_name: entry for entry in pwd.getpwall() if 0 < entry.pw_uid < OVERFLOW_UID}
    for name in ACCOUNTS:
        if name in known:
            return known[name]
    if not known:
        raise OSError("no account but root in the user database")
    return min(known.values(), key=lambda entry: entry.pw_uid)


def owner(mode: str) -> tuple[int, int]:
    """uid and gid, as seen from here, that the data directory must belong to."""
    if mode == "capabilities":
        entry = account()
        return entry.pw_uid, entry.pw_gid
    return os.geteuid(), os.getegid()


def peer_name(mode: str) -> str:
    """Our own name as a server started this way sees it, for peer authentication."""
    return account().pw_name if mode == "namespace" else pwd.getpwuid(os.geteuid()).pw_name


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is not worth its start-up time here
        file.write(text)


def enter_namespace(libc: ctypes.CDLL) -> None:
    """Enter a user namespace in which we are `account`, and nobody else exists."""
    entry, uid, gid = account(), os.geteuid(), os.getegid()
    _call(libc.unshare(CLONE_NEWUSER), "unshare(CLONE_NEWUSER)")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{entry.pw_uid} {uid} 1")
    _write("/proc/self/gid_map", f"{entry.pw_gid} {gid} 1")


def become_account(libc: ctypes.CDLL) -> None:
    """Become `account`, keeping only the capability to reach files whatever their permissions."""
    entry = account()
    os.setgroups([])
    os.setgid(entry.pw_gid)
    _call(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    os.setuid(entry.pw_uid)
    bits = 1 << CAP_DAC_OVERRIDE
    header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable; low word, then high
    _call(libc.capset(header, data), "capset")
    _call(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "prctl(PR_CAP_AMBIENT)")


def main(argv: list[str]) -> int:
    """Change to the mode, tie our life to the parent's, and become the program."""
    mode, parent, program = argv[0], int(argv[1]), argv[2]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if mode == "namespace":
                enter_namespace(libc)
            elif mode == "capabilities":
                become_account(libc)
            _call(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
            # after any change of identity, which clears it. SIGINT is PostgreSQL's fast and orderly shutdown
            _call(libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
        except OSError as error:
            print(f"cannot start {program!r} by {mode}: {error}", file=sys.stderr)
            return BARRED
    if os.getppid() != parent:  # died before the line above
        return BARRED
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.execv(program, argv[2:])
    except OSError as error:
        print(f"cannot start {program!r} by {mode}: {error}", file=sys.stderr)
    return BARRED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
