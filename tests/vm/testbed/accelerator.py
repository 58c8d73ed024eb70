# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""KVM where a guest boots under it, else emulation. That /dev/kvm exists proves nothing: it is tried."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.vm.testbed.image import Image
from tests.vm.testbed.places import cache_root, forget_old

KVM = ("-accel", "kvm", "-cpu", "host")
EMULATION = ("-accel", "tcg,thread=multi", "-cpu", "max,-avx,-avx2,-svm,-erms,-fsrm,-fsrs,-fzrm")
"""Without AVX: QEMU 10.0 reads 32 bytes where ``vinsertf128`` reads 16 of memory. At the end of a mapping that is a
segmentation fault, as BLAKE3 of the last block of a buffer shows.

Without ERMS and its kind: where string instructions are said to be fast, kernel and libc copy and clear memory with
them, and QEMU emulates them byte by byte. Tests take a fifth less time without."""

_TRIAL_S = 30
_LAST_WORDS = b"Unable to mount root fs"


def accelerator(image: Image) -> tuple[str, ...]:
    """QEMU's options. The answer is remembered until this machine is booted again."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answer = cache_root() / f"kvm-{boot}"
    if not answer.exists():
        answer.write_text("yes" if Path("/dev/kvm").exists() and _boots_under_kvm(image) else "no")
        forget_old("kvm-*", keep=[answer])
    return KVM if answer.read_text() == "yes" else EMULATION


def _boots_under_kvm(image: Image) -> bool:
    """Whether the kernel comes as far as looking for its disk, of which there is none: it then panics and ends. That
    it begins to boot is not enough, since some nested hypervisors get it no further."""
    trial = [
        *("qemu-system-x86_64", *KVM, "-m", "512", "-nodefaults", "-no-user-config", "-display", "none"),
        *("-serial", "stdio", "-no-reboot", "-kernel", str(image.kernel), "-append", "console=ttyS0 panic=-1"),
    ]
    try:
        ended = subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return _LAST_WORDS in ended.stdout
