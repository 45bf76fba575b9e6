"""The files of a Mosquitto of our own, and who may do what with them. Knows no process and no connection.

    broker/               ours, its group (Mosquitto's) may enter; what is in it is ours, and at most readable for the group
      mosquitto.conf, acl, passwords    for Mosquitto to read
      mosquitto.log, port, password     for us alone
      client/mosquitto_sub              options for mosquitto_sub(1): port, user, password
      data/               Mosquitto's own: mosquitto.db
      run/                ours, Mosquitto may write: mqtt.sock

Root without CAP_DAC_OVERRIDE must be able to do all of it, also a second time. Every file is reached below a descriptor of its
folder, and no link is ever followed: the folders that Mosquitto may write are not trusted, nor what an earlier owner left.
"""

import base64
import contextlib
import hashlib
import os
import pwd
import secrets
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
READER = "operator"
"""The user on loopback, who may only read."""
_MAX_LOG = 1024 * 1024
"""Bytes; a log larger than this begins anew when the broker is started."""
_HASH_ROUNDS = 101
"""Of PBKDF2, as mosquitto_passwd(1) does it; the password has 192 random bits, so that more rounds would gain nothing."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

_CONFIGURATION = """\
# Written by dockwarden at each start; changes are lost.
per_listener_settings true
listener {port} {host}
allow_anonymous false
password_file passwords
acl_file acl
# Last: who finds it listening knows that all of it does.
listener 0 run/mqtt.sock
allow_anonymous true
persistence true
# Relative: it runs in this folder, and need not be able to enter those above it.
persistence_location data/
# dockwarden has it write (SIGUSR1) within a second or two of each message. To write all retained messages after each message
# (autosave_on_changes) takes ever longer the more there are: 20 messages a second at 3,000. This is for when signals are denied.
autosave_interval 300
# Who published a retained message is not known any more after a restart.
check_retain_source false
# A subscriber that went away keeps so many messages waiting, no more.
max_queued_messages 10000
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is needed to start it."""

    user: str
    """Whom it shall run as; `-`: as we do."""
    port: int
    """On loopback."""
    run_folder: int
    """Descriptor of the folder of its socket."""
    log: int
    """Descriptor of its log, for appending."""


def prepare(path: Path, *, preferred_port: int, commands: bool, run_folder: int = -1) -> Prepared:
    """Make folders, passwords and configuration.

    Args:
        path: the folder; made when missing.
        preferred_port: of loopback, when it is free and there was none last time.
        commands: whether the user on loopback may publish commands.
        run_folder: descriptor from last time, kept.

    Raises:
        OSError: something cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    us = os.geteuid()
    theirs = _unprivileged() if us == 0 else None
    uid, gid = (us, -1) if theirs is None else (theirs.pw_uid, theirs.pw_gid)
    with _opened(path) as folder:
        owner = os.fstat(folder).st_uid
        if owner not in {us, uid}:  # Mosquitto's: it was so up to 0.1
            raise PermissionError(f"it belongs to user id {owner}")
        os.fchown(folder, us, gid)
        os.fchmod(folder, 0o750)
        if _make_folder(folder, "data", 0o700) or owner != us:
            _take_over(folder)
        _make_folder(folder, "run", 0o700)
        _make_folder(folder, "client", 0o700)
        with _opened("data", folder) as data:
            os.fchown(data, uid, gid)
        if run_folder < 0:
            run_folder = os.open("run", _FOLDER, dir_fd=folder)
        os.fchown(run_folder, us, gid)
        os.fchmod(run_folder, 0o770)
        port = _choose_port(_read(folder, "port"), preferred_port)
        password = _read(folder, "password").strip() or secrets.token_urlsafe(24)
        text = _CONFIGURATION.format(port=port, host=HOST) + "user root\n" * (us == 0 and theirs is None)
        allowed = f"user {READER}\ntopic read #\n" + "topic write dockwarden/+/command/+\n" * commands
        _write(folder, "port", f"{port}\n")
        _write(folder, "password", f"{password}\n")
        _write(folder, "passwords", f"{READER}:{_hashed(password)}\n", gid=gid)
        _write(folder, "acl", allowed, gid=gid)
        _write(folder, "mosquitto.conf", text, gid=gid)
        with _opened("client", folder) as client:
            _write(client, "mosquitto_sub", f"-h {HOST}\n-p {port}\n-u {READER}\n-P {password}\n")
        return Prepared("-" if theirs is None else theirs.pw_name, port, run_folder, _open_log(folder))


def _choose_port(last: str, preferred: int) -> int:
    """The one of last time, else the preferred one, else any that is free."""
    wanted = [preferred, 0]
    with contextlib.suppress(ValueError):
        wanted.insert(0, int(last))
    for port in wanted:
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise OSError("no port is free on loopback")


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom the broker is to be when we are root: the user that its package makes, where there is one."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("mosquitto")
    return None


def _hashed(password: str) -> str:
    """As in Mosquitto's password file: `$7$ROUNDS$SALT$HASH`, PBKDF2 with SHA-512."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _HASH_ROUNDS)
    return f"$7${_HASH_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


@contextlib.contextmanager
def _opened(name: str | Path, folder: int | None = None) -> Iterator[int]:
    """A folder, below a descriptor if one is given."""
    opened = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


def _make_folder(folder: int, name: str, mode: int) -> bool:
    """A folder below a descriptor; whether it was made."""
    try:
        os.mkdir(name, mode, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _take_over(folder: int) -> None:
    """Messages of a version up to 0.1, which lay in the folder itself; whatever else is there is replaced, never followed."""
    for name in ("mosquitto.db", "mosquitto.conf", "mosquitto.log", "port"):
        with contextlib.suppress(FileNotFoundError):
            if name == "mosquitto.db" and stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
                os.rename(name, f"data/{name}", src_dir_fd=folder, dst_dir_fd=folder)
            elif name != "port":
                os.unlink(name, dir_fd=folder)


def _read(folder: int, name: str) -> str:
    """The text of a small file of ours below a descriptor; empty when there is none."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return ""
    try:
        return os.read(file, 1024).decode(errors="replace") if os.fstat(file).st_uid == os.geteuid() else ""
    finally:
        os.close(file)


def _write(folder: int, name: str, text: str, *, gid: int = -1) -> None:
    """A file below a descriptor, replaced as a whole; readable for that group too (-1: for nobody else)."""
    new = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        os.write(file, text.encode())
        if gid >= 0:
            os.fchown(file, -1, gid)
            os.fchmod(file, 0o640)
    finally:
        os.close(file)
    os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)


def _open_log(folder: int) -> int:
    """The log below a descriptor, for appending; anew when it is too large, or anything but a plain file of ours."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    for _ in range(2):
        with contextlib.suppress(OSError):
            file = os.open("mosquitto.log", flags, 0o600, dir_fd=folder)
            found = os.fstat(file)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid() and found.st_size <= _MAX_LOG:
                return file
            os.close(file)
        with contextlib.suppress(FileNotFoundError):
            os.unlink("mosquitto.log", dir_fd=folder)
    return os.open("mosquitto.log", flags | os.O_EXCL, 0o600, dir_fd=folder)
