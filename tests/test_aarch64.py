"""The AArch64 kernels, compiled by a cross compiler and run by an emulator where there are such."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMPILERS = {"x86_64": "g++", "aarch64": "aarch64-linux-gnu-g++"}
EMULATOR = "qemu-aarch64-static"
# Those of CMakeLists.txt that decide about bits.
OPTIONS = ["-std=gnu++20", "-O2", "-static", "-w"]
OPTIONS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def hashes(machine, directory):
    """Return what each instruction set of a machine computes, as one hash."""
    program = directory / machine
    native = ROOT / "native"
    sources = [ROOT / "tests/native/bits.cpp", native / "state.cpp", native / "cpu.cpp"]
    sources += native.glob(f"targets/{machine}*.cpp")
    compiler = [COMPILERS[machine], *OPTIONS, "-I", native]
    subprocess.run([*compiler, *sources, "-o", program], check=True)
    command = [EMULATOR, program] if machine == "aarch64" else [program]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(line.split() for line in lines.splitlines())


@pytest.mark.slow
def test_aarch64_gives_the_bits_of_x86(tmp_path):
    for tool in (*COMPILERS.values(), EMULATOR):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine")
    x86 = hashes("x86_64", tmp_path)
    if "x86-64-v3" not in x86:
        pytest.skip("this machine has no fused multiply-add")
    assert hashes("aarch64", tmp_path) == {"aarch64": x86["x86-64-v3"]}
    assert x86.get("x86-64-v4", x86["x86-64-v3"]) == x86["x86-64-v3"]
