# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One virtual machine: an overlay of a disk, a QEMU process, an SSH port on the loopback interface.

It boots, which takes half a minute of a processor where it is emulated, or goes on where a :class:`SavedMachine` was.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.vm.testbed.accelerator import accelerator
from tests.vm.testbed.image import Image

BOOT_S = 300
POWER_OFF_S = 90
HOST_AS_SEEN_INSIDE = "10.0.2.2"
MEMORY_MIB = 1536
_KERNEL_LINE = (
    "root=/dev/vda rw rootflags=noatime console=ttyS0 quiet loglevel=4 net.ifnames=0 systemd.show_status=0 "
    # What protects and accounts costs an emulated processor a tenth of its time.
    "mitigations=off init_on_alloc=0 randomize_kstack_offset=off nokaslr audit=0 cgroup_disable=memory "
    "transparent_hugepage=never preempt=none"
)

_LONGEST_SOCKET_PATH = 80
"""Linux takes 107 bytes, of which ssh needs some for itself."""

_UNTIL_DEATH = ("setpriv", "--pdeathsig", "KILL")


class MachineFailed(RuntimeError):
    """A machine did not come up, or not down; the message has the end of its console."""


@dataclass(frozen=True)
class SavedMachine:
    """A machine that was ready, as it stood at one moment. Never written: others go on from there."""

    directory: Path

    @property
    def disk(self) -> Path:
        """What it had written."""
        return self.directory / "disk.qcow2"

    @property
    def memory(self) -> Path:
        """What it had in its memory, processor and devices, as QEMU migrates it."""
        return self.directory / "memory"


class Machine:
    """A machine in ``directory``: ``overlay.qcow2``, ``console.log``, ``pid``, ``port``."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image = image
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """Hostname of the machine."""
        return self.directory.name

    @property
    def overlay(self) -> Path:
        """What the machine has written."""
        return self.directory / "overlay.qcow2"

    @property
    def console(self) -> Path:
        """What its kernel said."""
        return self.directory / "console.log"

    @property
    def port(self) -> int:
        """Port of its SSH server, on this machine's loopback interface."""
        return int((self.directory / "port").read_text())

    def create(self, backing: Path) -> None:
        """Make the disk: an overlay of ``backing``."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "image").write_text(self.image.name)
        form = "qcow2" if backing.suffix == ".qcow2" else "raw"
        create: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", form, "-b", backing, self.overlay]
        subprocess.run(create, check=True, stdin=subprocess.DEVNULL)

    def start(self, *, savable: bool = False) -> None:
        """Power on; it boots from its disk. A ``savable`` machine can be saved. It dies with this process, however
        that ends."""
        self._launch([*_UNTIL_DEATH, *self._qemu(), *(("-qmp", "stdio") if savable else ())], controlled=savable)

    def resume(self, saved: SavedMachine, *, standing: bool = False) -> None:
        """Make the disk, and go on where ``saved`` was. A ``standing`` machine outlives this process, any other dies
        with it, however it ends."""
        self.create(saved.disk)
        incoming = ("-incoming", f"exec:cat {shlex.quote(str(saved.memory))}")
        self._launch([*(() if standing else _UNTIL_DEATH), *self._qemu(), *incoming])

    def save(self, directory: Path) -> None:
        """Save a machine that was started ``savable`` in ``directory``, which is made; it ends with that."""
        saved = SavedMachine(directory)
        directory.mkdir()
        control = _Control(self._process)
        self._hang_up()
        control.run("migrate", uri=f"exec:cat >{shlex.quote(str(saved.memory))}")
        control.wait_for_migration()
        self.cut_power()
        self.overlay.rename(saved.disk)

    def wait_until_ready(self) -> None:
        """Return once SSH lets root in, and name and clock are right. Raises :class:`MachineFailed`."""
        deadline = time.monotonic() + BOOT_S
        patience_s = 1.0
        while not (self._greets(patience_s) and self._takes_name_and_time()):
            if not self.runs():
                raise MachineFailed(f"{self.name} ended before it was ready. {self._last_words()}")
            if time.monotonic() > deadline:
                raise MachineFailed(f"{self.name} was not ready within {BOOT_S} s. {self._last_words()}")
            patience_s = min(2 * patience_s, 5)

    def runs(self) -> bool:
        """Whether its process lives."""
        if self._process is not None:
            return self._process.poll() is None
        return self._pidfd() is not None

    def is_current(self) -> bool:
        """Whether it runs, and was made of this image: of another one, it has another key."""
        return self.runs() and (self.directory / "image").read_text() == self.image.name

    def ssh_words(self, *, user: str = "root") -> list[str]:
        """The ssh command for this machine; a remote command may follow."""
        return [
            *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.image.private_key)),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR"),
            *("-o", f"UserKnownHostsFile={self.image.known_hosts}", "-o", "HostKeyAlias=testbed"),
            *("-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=10", f"{user}@127.0.0.1"),
        ]

    def ssh(
        self, *words: object, capture: bool = False, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command inside; ``words`` are quoted for the shell there."""
        return self.shell(shlex.join(str(word) for word in words), capture=capture, check=check, **options)

    def shell(
        self, line: str, *, capture: bool = False, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a shell line inside."""
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        ssh, *words = self.ssh_words()
        return subprocess.run(
            [ssh, *self._one_connection(), *words, line], capture_output=capture, check=check, **options
        )

    def _one_connection(self) -> list[str]:
        """Options with which the first command leaves its connection to those that follow: to make one takes an
        emulated machine most of a second. It ends with the machine."""
        path = self.directory / "ssh"
        if len(str(path)) > _LONGEST_SOCKET_PATH:
            return []
        return ["-o", "ControlMaster=auto", "-o", f"ControlPath={path}", "-o", "ControlPersist=yes"]

    def _hang_up(self) -> None:
        """End the connection that commands share: whoever goes on from a saved machine would find it dead inside."""
        if options := self._one_connection():
            ssh, *words = self.ssh_words()
            subprocess.run([ssh, *options, "-O", "exit", *words], check=False, capture_output=True)

    def send_files(self, source: Path, names: Sequence[str], target: str) -> None:
        """Copy ``names`` below ``source`` into the directory ``target`` inside, which is made."""
        pack = subprocess.Popen(["tar", "--create", "--directory", source, *names], stdout=subprocess.PIPE)
        try:
            quoted = shlex.quote(target)
            unpack = f"mkdir -p {quoted} && tar --extract --no-same-owner --warning=no-timestamp --directory {quoted}"
            self.shell(unpack, stdin=pack.stdout)
        finally:
            if pack.stdout:
                pack.stdout.close()
            if pack.wait():
                raise MachineFailed(f"tar of {source} failed with status {pack.returncode}")

    def fetch_files(self, source: str, target: Path) -> None:
        """Copy what is in the directory ``source`` inside into ``target``."""
        target.mkdir(parents=True, exist_ok=True)
        packed = self.ssh("tar", "--create", "--directory", source, ".", capture=True).stdout
        subprocess.run(["tar", "--extract", "--directory", target], input=packed, check=True)

    def shut_down(self) -> None:
        """Power off in good order, so that everything is on the disk."""
        self.ssh("systemctl", "poweroff", check=False, capture=True)
        if not self._ends_within(POWER_OFF_S):
            raise MachineFailed(f"{self.name} did not power off within {POWER_OFF_S} s. {self._last_words()}")

    def cut_power(self) -> None:
        """End the machine at once, by its own process id. What it had not written is lost. May be called twice."""
        for number in (signal.SIGTERM, signal.SIGKILL):  # QEMU takes SIGTERM as the plug being pulled
            handle = self._pidfd()
            if handle is None:
                break
            try:
                signal.pidfd_send_signal(handle, number)
                if select.select([handle], [], [], 10)[0]:
                    break
            except ProcessLookupError:
                break
            finally:
                os.close(handle)
        if self._process is not None:
            self._process.wait()
            self._process = None
        (self.directory / "pid").unlink(missing_ok=True)

    def _ends_within(self, seconds: float) -> bool:
        handle = self._pidfd()
        if handle is not None:
            try:
                if not select.select([handle], [], [], seconds)[0]:
                    return False
            finally:
                os.close(handle)
        self.cut_power()
        return True

    def _pidfd(self) -> int | None:
        """A handle of the machine's process, and never of a stranger who got its number."""
        try:
            pid = int((self.directory / "pid").read_text())
            handle = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            words = []
        if any(str(self.overlay).encode() in word for word in words):
            return handle
        os.close(handle)
        return None

    def _qemu(self) -> list[str | Path]:
        """The command line but for what becomes of the process; a new port is chosen."""
        port = _free_port()
        (self.directory / "port").write_text(f"{port}\n")
        return [
            *("qemu-system-x86_64", *accelerator(self.image), "-name", self.name),
            *("-smp", "1", "-m", str(MEMORY_MIB)),
            *("-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{self.console}"),
            *("-kernel", self.image.kernel, "-initrd", self.image.initrd, "-append", _KERNEL_LINE),
            # The host does not crash in these tests: what the machine flushed need not reach the host's disk.
            *("-drive", f"if=virtio,file={self.overlay},format=qcow2,cache=unsafe,discard=unmap"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"),
            # Tells a kernel that it was resumed, so that no two machines draw the same random numbers.
            *("-device", "vmgenid,guid=auto"),
        ]

    def _launch(self, words: list[str | Path], *, controlled: bool = False) -> None:
        with (self.directory / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if controlled else subprocess.DEVNULL,
                stdout=subprocess.PIPE if controlled else log,
                stderr=log,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(f"{self._process.pid}\n")

    def _greets(self, patience_s: float) -> bool:
        """Whether an SSH server answers; QEMU itself accepts connections long before."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=patience_s) as connection:
                if connection.recv(4) == b"SSH-":
                    return True
        except OSError:
            pass
        if self._process is not None:
            # Turned away at once means that the boot goes on: look again in a moment, or when it ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.3)
        return False

    def _takes_name_and_time(self) -> bool:
        """Tell it both, since one that was resumed has another machine's, of another day; whether that went well."""
        words = f"hostname {shlex.quote(self.name)} && date --set=@{time.time():.3f}"
        return self.shell(words, capture=True, check=False).returncode == 0

    def _last_words(self) -> str:
        said = []
        for log in (self.directory / "qemu.log", self.console):
            if log.exists():
                said += log.read_text(errors="replace").splitlines()[-15:]
        return "It said last:\n" + "\n".join(said)


class _Control:
    """QEMU's control connection, on its standard input and output (QMP)."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("only a machine that was started savable can be saved")
        self._send = process.stdin
        self._replies = process.stdout
        self._next()  # the greeting
        self.run("qmp_capabilities")
        self.run("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])

    def run(self, command: str, **arguments: Any) -> None:
        """Run one command."""
        self._send.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        self._send.flush()
        while "return" not in (reply := self._next()):
            if "error" in reply:
                raise MachineFailed(f"QEMU refused {command}: {reply['error'].get('desc')}")

    def wait_for_migration(self) -> None:
        """Return once all is written."""
        status = ""
        while status != "completed":
            message = self._next()
            if message.get("event") == "MIGRATION":
                status = message["data"]["status"]
            if status == "failed":
                raise MachineFailed(f"The machine's memory could not be saved: are {MEMORY_MIB} MiB free in the cache?")

    def _next(self) -> dict[str, Any]:
        line = self._replies.readline()
        if not line:
            raise MachineFailed("QEMU ended while it was asked to save the machine")
        message: dict[str, Any] = json.loads(line)
        return message


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
