"""The committed kernel object is what its source gives, and the wheel carries it."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flowcost.agent import bpf_syscall as bpf
from flowcost.agent import compile as compiler
from flowcost.agent import loader
from flowcost.agent.elf import Object
from flowcost.agent.programs import Settings, load_programs
from flowcost.errors import NotSupportedError

ROOT = Path(__file__).parents[2]
KERNEL_SIDE = ROOT / "src/flowcost/agent/bpf"
COMMITTED = KERNEL_SIDE / "flow.bpf.o"


@pytest.fixture
def clang():
    found = compiler.find_clang()
    if found is None:
        pytest.skip(f"no clang of version {compiler.COMPILER} or newer is installed")
    return found


def test_the_committed_object_is_what_the_source_gives(clang, tmp_path):
    path, version = clang
    if version != compiler.COMPILER:
        pytest.skip(f"clang {version} is here; the object is made by clang {compiler.COMPILER}")
    made = tmp_path / "flow.bpf.o"
    compiler.compile_object(path, made)
    assert hashlib.sha256(made.read_bytes()).hexdigest() == (
        hashlib.sha256(COMMITTED.read_bytes()).hexdigest()
    ), "run `make bpf` and commit the object"


def test_an_object_compiled_here_is_verified_by_this_kernel(clang, tmp_path, kernel):
    made = tmp_path / "flow.bpf.o"
    compiler.compile_object(clang[0], made)
    source = Object(made.read_bytes(), str(made))
    settings = Settings(flows=16, cgroups=4, dns_bytes=1 << 16)
    maps = loader.create_maps(settings.sized(loader.shapes(source)))
    assert set(load_programs(source, maps, settings)) == {"egress", "ingress"}


def test_the_object_names_no_place_and_no_machine():
    data = COMMITTED.read_bytes()
    for word in (b"/home", b"/root", b"/src", b"clang", b"Debian", b"x86"):
        assert word not in data
    assert len(data) < 32_000


def test_the_maps_of_the_object_are_as_wide_as_the_reader_thinks():
    shapes = loader.shapes(loader.packaged_object())
    assert {n: (s.key_size, s.value_size) for n, s in shapes.items() if s.type == bpf.HASH} == {
        "flows4_a": (24, 40),
        "flows4_b": (24, 40),
        "flows6_a": (48, 40),
        "flows6_b": (48, 40),
        "overflow_a": (8, 40),
        "overflow_b": (8, 40),
    }


@pytest.mark.parametrize("damage", [slice(0, 100), slice(0, 0), slice(10, None), slice(0, 9000)])
def test_a_damaged_object_is_refused_by_name(damage):
    with pytest.raises(NotSupportedError, match=r"x\.o"):
        Object(COMMITTED.read_bytes()[damage], "x.o")


@pytest.mark.slow
def test_one_wheel_serves_every_machine_and_holds_the_object(tmp_path):
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name.endswith("py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert names.count("flowcost/agent/bpf/flow.bpf.o") == 1
        packaged = archive.read("flowcost/agent/bpf/flow.bpf.o")
    assert Object(packaged, "packaged").index("cgroup_skb/egress") > 0
