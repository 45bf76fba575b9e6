"""Key files of operators: one file each, `NAME.key`, in a folder that nobody but root (or the sidecar's own user) may write.

    secret: "5f1c…"          # 64 or more hexadecimal digits
    allow: [ack, silence]    # which commands it may give; without it, all of them

Read anew for each command, so that a key that is removed is no key any more. Secrets are never part of an error or a log line.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.errors import CommandKeyError
from engine.messages.commands import COMMANDS, MIN_KEY_BYTES, CommandName, OperatorKey

SUFFIX = ".key"

MAX_KEY_FILES = 200
"""More is another folder than was meant."""

_MAX_BYTES = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    secret: str = Field(pattern=r"^(?:[0-9A-Fa-f]{2})+$")
    allow: tuple[CommandName, ...] = COMMANDS  # type: ignore[assignment]  # the same names, as a tuple of str

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, secret: str) -> str:
        if len(secret) < 2 * MIN_KEY_BYTES:
            msg = f"a secret has at least {2 * MIN_KEY_BYTES} hexadecimal digits"
            raise ValueError(msg)
        return secret


def read_command_keys(folder: Path) -> tuple[dict[str, OperatorKey], list[str]]:
    """The keys of a folder by operator, and what is wrong with the files that are none; a folder that is not there has no keys.

    One bad file takes no other key away.

    Raises:
        CommandKeyError: the folder cannot be read, holds too many files, or others may write it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        raise CommandKeyError(f"{folder}: cannot be read: {error.strerror}") from error
    try:
        _refuse_foreign(folder, os.fstat(descriptor), forbidden=_OTHERS_WRITE)
        names = sorted(name for name in os.listdir(descriptor) if name.endswith(SUFFIX))  # noqa: PTH208  of the folder that was judged
        if len(names) > MAX_KEY_FILES:
            raise CommandKeyError(f"{folder}: more than {MAX_KEY_FILES} key files; is this the right folder?")
        keys: dict[str, OperatorKey] = {}
        problems: list[str] = []
        for name in names:
            try:
                keys[name.removesuffix(SUFFIX)] = _read_at(descriptor, folder / name)
            except CommandKeyError as error:
                problems.append(str(error))
        return keys, problems
    finally:
        os.close(descriptor)


def read_command_key(file: Path) -> OperatorKey:
    """One operator's key, by which commands are signed; the file's name without `.key` is the operator's.

    Raises:
        CommandKeyError: it cannot be read, others may read it, or it is no key file.
    """
    return _read_at(None, file)


def new_key_text(secret: bytes, allow: Iterable[str] = ()) -> str:
    """The text of a key file."""
    lines = [f'secret: "{secret.hex()}"']
    if names := sorted(allow):
        lines.append(f"allow: [{', '.join(names)}]")
    return "\n".join(lines) + "\n"


def _read_at(folder: int | None, file: Path) -> OperatorKey:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(file.name if folder is not None else file, flags, dir_fd=folder)
    except OSError as error:
        raise CommandKeyError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise CommandKeyError(f"{file}: not a regular file")
        _refuse_foreign(file, state, forbidden=_OTHERS)
        content = os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise CommandKeyError(f"{file}: longer than {_MAX_BYTES} bytes, which no key file is")
    return _parse(file, content)


def _parse(file: Path, content: bytes) -> OperatorKey:
    try:
        loaded: Any = yaml.load(content, Loader=yaml.CSafeLoader)
        key = _KeyFile.model_validate(loaded)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValidationError is a ValueError
        # `from None`: the causes quote the file, and with it the secret.
        where = [".".join(map(str, one["loc"])) for one in error.errors()] if isinstance(error, ValidationError) else []
        wrong = ", ".join(where) or "not valid YAML"
        raise CommandKeyError(
            f"{file}: not a key file ({wrong}): `secret` has {2 * MIN_KEY_BYTES} or more hexadecimal digits in quotes, "
            f"`allow` lists some of {', '.join(COMMANDS)}"
        ) from None
    return OperatorKey(file.name.removesuffix(SUFFIX), bytes.fromhex(key.secret), frozenset(key.allow))


def _refuse_foreign(path: Path, state: os.stat_result, *, forbidden: int) -> None:
    """Who may write here may command this host."""
    if state.st_uid not in (0, os.geteuid()):
        raise CommandKeyError(f"{path}: belongs to user {state.st_uid}; make it root's (chown root)")
    if state.st_mode & forbidden:
        mode = "u=rw,go=" if forbidden == _OTHERS else "go-w"
        raise CommandKeyError(f"{path}: others have access (mode {stat.S_IMODE(state.st_mode):04o}); chmod {mode}")
