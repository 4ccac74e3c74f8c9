import pytest

from flowcost.agent.cgroups import Cgroups, Owner, owner_of

UID = "3f2b6c1e-9d74-4c0a-8f55-0a1b2c3d4e5f"
SLICE_UID = UID.replace("-", "_")
STATIC = "0123456789abcdef0123456789abcdef"
CONTAINER = "ab" * 32
OUTER = "cd" * 32

# (who makes it, path, pod uid, container id)
SHAPES = [
    (
        "kubelet systemd driver, containerd, burstable",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE_UID}.slice/cri-containerd-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "kubelet systemd driver, containerd, guaranteed",
        f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice/cri-containerd-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "kubelet systemd driver, CRI-O, best effort",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{SLICE_UID}.slice/crio-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "CRI-O with a cgroup of the container's own init below it",
        f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{SLICE_UID}.slice/crio-{CONTAINER}.scope/container/system.slice/nginx.service",
        UID,
        CONTAINER,
    ),
    (
        "CRI-O's monitor process",
        f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice/crio-conmon-{CONTAINER}.scope",
        UID,
        "",
    ),
    (
        "kubelet systemd driver, docker",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE_UID}.slice/docker-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "podman (kube play under kubepods)",
        f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice/libpod-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "kubelet cgroupfs driver, containerd or docker, burstable",
        f"/kubepods/burstable/pod{UID}/{CONTAINER}",
        UID,
        CONTAINER,
    ),
    ("kubelet cgroupfs driver, guaranteed", f"/kubepods/pod{UID}/{CONTAINER}", UID, CONTAINER),
    (
        "kubelet cgroupfs driver, CRI-O",
        f"/kubepods/besteffort/pod{UID}/crio-{CONTAINER}",
        UID,
        CONTAINER,
    ),
    (
        "kubelet systemd driver with containerd left on cgroupfs",
        f"/system.slice/containerd.service/kubepods-burstable-pod{SLICE_UID}.slice:cri-containerd:{CONTAINER}",
        UID,
        CONTAINER,
    ),
    (
        "kind on cgroup v2",
        f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{SLICE_UID}.slice/cri-containerd-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "kind seen from the machine around it",
        f"/system.slice/docker-{OUTER}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{SLICE_UID}.slice/cri-containerd-{CONTAINER}.scope",
        UID,
        CONTAINER,
    ),
    (
        "kind and k3d on cgroupfs, nested in docker",
        f"/docker/{OUTER}/kubelet/kubepods/besteffort/pod{UID}/{CONTAINER}",
        UID,
        CONTAINER,
    ),
    (
        "k3s and rke2 with their embedded containerd",
        f"/kubepods/besteffort/pod{UID}/{CONTAINER}",
        UID,
        CONTAINER,
    ),
    (
        "k3s rootless under a user slice",
        f"/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/burstable/pod{UID}/{CONTAINER}",
        UID,
        CONTAINER,
    ),
    (
        "a static pod is known by its configuration hash",
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{CONTAINER}.scope",
        STATIC,
        CONTAINER,
    ),
    (
        "the pod's own cgroup, above its containers",
        f"/kubepods.slice/kubepods-pod{SLICE_UID}.slice",
        UID,
        "",
    ),
    ("a unit of the node", "/system.slice/kubelet.service", "", ""),
    ("a class without a pod", "/kubepods.slice/kubepods-burstable.slice", "", ""),
    ("a docker container outside Kubernetes", f"/system.slice/docker-{CONTAINER}.scope", "", ""),
    ("a name that only looks like a pod", f"/user.slice/podcast-{CONTAINER}", "", ""),
    ("the root", "/", "", ""),
]


@pytest.mark.parametrize(("who", "path", "uid", "container"), SHAPES, ids=[s[0] for s in SHAPES])
def test_the_path_of_a_cgroup_names_its_pod(who, path, uid, container):
    assert owner_of(path) == Owner(path, uid, container)


@pytest.fixture
def tree(tmp_path):
    (tmp_path / f"kubepods/pod{UID}/{CONTAINER}").mkdir(parents=True)
    (tmp_path / "system.slice/kubelet.service").mkdir(parents=True)
    return tmp_path


def test_an_id_is_the_inode_of_the_directory(tree):
    container = tree / f"kubepods/pod{UID}/{CONTAINER}"
    found = Cgroups(tree).owner(container.stat().st_ino, now=0.0)
    assert found == Owner(f"/kubepods/pod{UID}/{CONTAINER}", UID, CONTAINER)


def test_a_process_of_the_node_is_known_by_its_unit(tree):
    unit = tree / "system.slice/kubelet.service"
    assert Cgroups(tree).owner(unit.stat().st_ino, 0.0) == Owner("/system.slice/kubelet.service")


def test_a_new_cgroup_is_found_by_scanning_again_but_not_more_often_than_asked(tree):
    cgroups = Cgroups(tree, rescan_s=1.0)
    cgroups.scan(0.0)
    late = tree / "kubepods/late"
    late.mkdir()
    assert cgroups.owner(late.stat().st_ino, now=0.5) is None
    assert cgroups.owner(late.stat().st_ino, now=1.5) == Owner("/kubepods/late")


def test_a_dead_pod_keeps_its_name_until_its_last_packets_have_come(tree):
    cgroups = Cgroups(tree, keep_s=600.0)
    container = tree / f"kubepods/pod{UID}/{CONTAINER}"
    inode = container.stat().st_ino
    cgroups.scan(0.0)
    container.rmdir()
    cgroups.scan(599.0)
    known = cgroups.owner(inode, 599.0)
    assert known
    assert known.pod_uid == UID
    cgroups.scan(601.0)
    assert cgroups.owner(inode, 601.0) is None
