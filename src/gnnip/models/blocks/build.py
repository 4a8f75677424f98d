"""Compile the kernels of a model once for this processor and load them.

Without a compiler its dense form serves.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import torch

FLAGS = ("-O3", "-march=native", "-std=gnu++17", "-fPIC", "-fopenmp", "-fno-math-errno")


def cache_folder() -> Path:
    """Return the folder of compiled kernels: ``$GNNIP_CACHE``, else ``~/.cache/gnnip``."""
    given = os.environ.get("GNNIP_CACHE")
    with contextlib.suppress(RuntimeError):  # nobody is at home
        return Path(given) if given else Path.home() / ".cache" / "gnnip"
    return Path(tempfile.gettempdir()) / f"gnnip-{os.getpid()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _openmp() -> list[str]:
    # torch wheels carry their own libgomp: a second one would bring a second team of spinning
    # threads
    own = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))
    return [str(own[0])] if own else ["-fopenmp"]


def _compile(source: Path, compiler: str, target: Path, openmp: list[str]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / "kernels.o", Path(folder) / target.name
        for command in (
            [compiler, *FLAGS, "-c", str(source), "-o", str(made[0])],
            [compiler, "-shared", str(made[0]), "-o", str(made[1]), *openmp],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
        os.replace(made[1], target)


@lru_cache
def library(source: Path) -> ctypes.CDLL | None:
    """Return the compiled kernels, or None, after one warning, where there is no compiler.

    source : the C++ file, in the folder of its model.
    ``GNNIP_KERNELS=off`` chooses the dense form on purpose; ``CXX`` names another compiler than
    g++.
    """
    if os.environ.get("GNNIP_KERNELS", "").lower() == "off":
        return None
    model = source.parent.name
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if not compiler or sys.platform != "linux":
        warnings.warn(
            f"No C++ compiler was found, so {model} runs in its slower dense form; "
            "install g++ to get the fast one.",
            stacklevel=2,
        )
        return None
    openmp = _openmp()
    key = "\n".join([source.read_text(encoding="utf-8"), compiler, *FLAGS, *openmp, _processor()])
    name = f"{model}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    target = cache_folder() / name
    try:
        if not target.exists():
            _compile(source, compiler, target, openmp)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        warnings.warn(
            f"The kernels of {model} could not be compiled into {target.parent}, so the slower "
            f"dense form runs ({detail[-1] if detail else error}); set GNNIP_CACHE to a writable "
            "folder or CXX to a compiler.",
            stacklevel=2,
        )
        return None
