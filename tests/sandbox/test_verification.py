"""Each layer is there for something: leaving one out turns exactly its entry red, and lowers the tier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openenv.sandbox import Limits, Packages, Sandbox, Standing, Status, Tier
from openenv.sandbox.verification import examine
from openenv.sandbox.warm import WarmParent


@pytest.fixture(scope="module", params=["namespaces", "confined"])
def parent(request: pytest.FixtureRequest) -> Iterator[WarmParent]:
    made = WarmParent(request.param, Packages(), groups=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def spaces() -> Iterator[WarmParent]:
    made = WarmParent("namespaces", Packages(), groups=False)
    yield made
    made.close()


def red(parent: WarmParent, *without: str) -> set[str]:
    """Layers that do not hold, beyond those that never hold in this mode."""
    normal = {layer.name for layer in examine(parent, "x").layers if layer.standing is Standing.MISSING}
    report = examine(parent, "x", without=without)
    return {layer.name for layer in report.layers if layer.standing is Standing.MISSING} - normal


def test_with_every_layer_the_tier_is_reached(parent: WarmParent) -> None:
    report = examine(parent, "x")
    assert report.tier is (Tier.A if parent.mode == "namespaces" else Tier.C)
    missing = {layer.name for layer in report.layers if layer.standing is Standing.MISSING}
    expected = {f"{name} namespace" for name in ("mount", "pid", "network", "ipc", "uts", "user")}
    assert missing == (set() if parent.mode == "namespaces" else expected)
    assert report.layer("memory").standing is Standing.WEAK
    assert report.layer("memory").fix
    assert report.create_ms > 0
    with pytest.raises(KeyError):
        report.layer("magic")


@pytest.mark.parametrize(
    ("without", "layer", "tier"),
    [
        ("landlock", "landlock", Tier.B),
        ("seccomp", "seccomp", Tier.NONE),
        ("limits", "limits", Tier.NONE),
        ("memory watch", "memory", Tier.B),
        ("capabilities", "capabilities", Tier.NONE),
        ("network", "network namespace", Tier.C),
        ("ipc", "ipc namespace", Tier.C),
        ("uts", "uts namespace", Tier.C),
    ],
)
def test_a_layer_left_out_is_noticed(spaces: WarmParent, without: str, layer: str, tier: Tier) -> None:
    assert layer in red(spaces, without)
    assert red(spaces, without) <= {layer, "seccomp", "capabilities"}
    assert examine(spaces, "x", without=[without]).tier is tier


@pytest.mark.parametrize(
    ("without", "layers"),
    [
        (["landlock"], {"landlock", "files"}),
        (["seccomp"], {"seccomp"}),
        # Without a user namespace the watcher counts processes too; with it the attempts would be killed.
        (["limits", "memory watch"], {"limits", "memory"}),
    ],
)
def test_a_layer_left_out_without_namespaces_is_noticed(without: list[str], layers: set[str]) -> None:
    parent = WarmParent("confined", Packages(), groups=False)
    try:
        assert layers <= red(parent, *without)
        assert not examine(parent, "x", without=without).tier.at_least(Tier.C)
    finally:
        parent.close()


def test_without_its_limits_a_sandbox_lets_files_grow(spaces: WarmParent) -> None:
    limits = Limits(file_bytes=1 << 20, wall_s=30)
    code = "open('big', 'wb').write(bytes(2 << 20))"
    with Sandbox(spaces, None, limits) as bounded:
        assert bounded.exec(code).status is Status.ERROR
    with Sandbox(spaces, None, limits, without=["limits"]) as unbounded:
        assert unbounded.exec(code).ok


def test_branches_do_not_reach_each_other_and_landlock_is_why(spaces: WarmParent) -> None:
    attack = "import os\nos.kill(target, 0)"
    for without, status in (((), Status.ERROR), (("landlock",), Status.OK)):
        with Sandbox(spaces, None, without=without) as sandbox:
            first, second = sandbox.fork(2)
            target = first.exec("import os\nos.getpid()").value
            assert second.exec(f"target = {target}\n{attack}").status is status
