"""A Mosquitto of one's own for a test: on a free loopback port, in a folder of its own, stopped by its process id.

Knows nothing of dockwarden. Needs `mosquitto` and `mosquitto_passwd` (Debian's package `mosquitto`), and `openssl` for TLS.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_START_S = 10.0
_STOP_S = 5.0


def free_port() -> int:
    """A port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str:
    """The path of a program, also of those in /usr/sbin, which not every PATH has."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"{name} is not installed (make lab-packages)")
    return found


class ScratchBroker:
    """A Mosquitto that is started, stopped, killed and started again on the same port.

    Args:
        users: passwords by user name; None lets everybody in.
        acl: text of an access control file (mosquitto.conf(5), `acl_file`); `write_acl` changes it later.
        tls: listen with TLS, with a certificate for localhost and 127.0.0.1 from a CA made for this broker (`ca_file`).
        client_certificates: with `tls`: only clients with a certificate of that CA (`client_cert`, `client_key`) get in.
        extra: further lines of the configuration.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        acl: str | None = None,
        tls: bool = False,
        client_certificates: bool = False,
        extra: tuple[str, ...] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="scratch-broker-"))
        self.host = HOST
        self.port = free_port()
        self.log_path = self.folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._users = users
        self._acl = acl
        self._tls = tls
        self._client_certificates = client_certificates
        self._extra = extra

    @property
    def url(self) -> str:
        """`mqtt://127.0.0.1:PORT`, or `mqtts://localhost:PORT`."""
        return f"mqtts://localhost:{self.port}" if self._tls else f"mqtt://{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """Certificate of the CA (only with TLS)."""
        return self.folder / "ca.crt"

    @property
    def client_cert(self) -> Path:
        """A client's certificate (only with TLS)."""
        return self.folder / "client.crt"

    @property
    def client_key(self) -> Path:
        """The key to it."""
        return self.folder / "client.key"

    @property
    def pid(self) -> int:
        """Process id while it runs."""
        if self._process is None:
            raise RuntimeError("the broker does not run")
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        for _ in range(3):
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [program("mosquitto"), "-c", str(self.folder / "mosquitto.conf")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if self._await_listening():
                return
            self.kill()
            if "Address already in use" not in self.log:
                break
            time.sleep(0.2)  # its predecessor, killed a moment ago, may still be going
        raise RuntimeError(f"mosquitto did not start:\n{self.log}")

    def stop(self) -> None:
        """Stop it in order (SIGTERM); killed when that takes more than 5 s."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to write anything (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it on the same port, with what it persisted."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Have it read its passwords and access control file again (SIGHUP)."""
        os.kill(self.pid, signal.SIGHUP)

    def write_acl(self, acl: str) -> None:
        """Change the access control file; `reload` or `restart` puts it in force."""
        self._write("acl", acl)

    def freeze(self) -> None:
        """Have it answer nothing (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and delete its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)

    def _await_listening(self) -> bool:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                with socket.create_connection((self.host, self.port), timeout=1):
                    return True
            except OSError:
                time.sleep(0.01)
        return False

    def _write(self, name: str, text: str, *, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def _prepare(self) -> None:
        lines = [
            f"listener {self.port} {self.host}",
            f"allow_anonymous {'true' if self._users is None else 'false'}",
            # Without these two lines an acknowledged message lives in memory alone for up to half an hour.
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_on_changes true",
            "autosave_interval 1",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_dest stderr",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # else it becomes the user mosquitto, who may not write here
        if self._users is not None:
            passwords = self._write("passwords", "".join(f"{name}:{word}\n" for name, word in self._users.items()))
            subprocess.run([program("mosquitto_passwd"), "-U", str(passwords)], check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if self._acl is not None:
            lines.append(f"acl_file {self._write('acl', self._acl)}")
        if self._tls:
            self._make_certificates()
            lines += [f"cafile {self.ca_file}", f"certfile {self.folder}/server.crt", f"keyfile {self.folder}/server.key"]
            if self._client_certificates:
                lines.append("require_certificate true")
        self._write("mosquitto.conf", "\n".join((*lines, *self._extra)) + "\n")

    def _make_certificates(self) -> None:
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=scratch CA", "-keyout", "ca.key", "-out", "ca.crt",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        for name, extension in (
            ("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"),
            ("client", "extendedKeyUsage=clientAuth\n"),
        ):
            self._write(f"{name}.ext", f"basicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n{extension}")
            self._openssl(
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
            )  # fmt: skip
            self._openssl(
                "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt",
            )  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run([program("openssl"), *arguments], cwd=self.folder, check=True, capture_output=True)
