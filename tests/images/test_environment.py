"""Environment and repository images: real packages, built and imported from the tree that an agent edits."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest

from forager.errors import BuildError, InfrastructureError, UnfitError, UsageError
from forager.forage.detect import detect
from forager.images import layer
from forager.images.environment import ensure_environment, freeze
from forager.images.index import fetch
from forager.images.layer import add_layer
from forager.records import Environment
from forager.sandbox.engine import Engine
from tests.images.repositories import crafted, shell

pytestmark = pytest.mark.docker


async def test_a_package_is_installed_from_its_tree_and_its_suite_passes(engine: Engine) -> None:
    environment = detect(await fetch("pypi:itsdangerous==2.2.0"))
    tag = await ensure_environment(engine, environment)
    said = await shell(
        engine,
        tag,
        "pwd; git log --format=%s; git status --short; python -m pytest -q 2>&1 | tail -1;"
        "echo 'raise SystemExit(\"edited\")' > src/itsdangerous/__init__.py; cd /;"
        "python -c 'import itsdangerous' 2>&1;"
        "bash -lc 'command -v python'; find / -xdev -name 'itsdangerous*' -not -path '/testbed/*' -name '*.py'",
    )
    lines = said.splitlines()
    assert lines[:2] == ["/testbed", "The release"], "and a clean status: nothing between"
    assert "297 passed" in lines[2]
    assert lines[3:] == ["edited", "/opt/venv/bin/python"]


async def test_an_extension_in_c_is_compiled(engine: Engine) -> None:
    tag = await ensure_environment(engine, detect(await fetch("pypi:markupsafe==3.0.4")))
    said = await shell(engine, tag, "python -c 'import markupsafe._speedups as s; print(s.__file__)'")
    assert said.startswith("/testbed/src/markupsafe/_speedups.")


async def test_what_was_installed_is_pinned_and_known_under_its_pins(engine: Engine) -> None:
    environment = detect(await fetch("pypi:itsdangerous==2.2.0"))
    tag = await ensure_environment(engine, environment)
    pinned = await freeze(engine, environment)
    assert "pytest==8.1.1" in pinned.packages
    assert all("==" in package for package in pinned.packages)
    assert not any(package.startswith(("itsdangerous", "pip==")) for package in pinned.packages)
    alias = await ensure_environment(engine, pinned)
    assert alias != tag
    assert (await engine.call(engine.client.images.get, alias)).id == (
        await engine.call(engine.client.images.get, tag)
    ).id, "the same image, not one built again"


async def test_repositories_with_the_same_needs_share_them(engine: Engine) -> None:
    one = crafted("forager-test-one", {"one.py": "x = 1\n"})
    two = crafted("forager-test-two", {"two.py": "x = 2\n"})
    layers = []
    for environment in (one, two):
        tag = await ensure_environment(engine, environment)
        image = await engine.call(engine.client.images.get, tag)
        layers.append(image.attrs["RootFS"]["Layers"])
        assert (await shell(engine, tag, f"cd /; python -c 'import {tag.split('-')[2]} as m; print(m.x)'")).strip()
    assert layers[0][:-1] == layers[1][:-1]
    assert layers[0][-1] != layers[1][-1]


async def test_a_password_of_the_index_is_nowhere_in_the_image(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ensure_environment(engine, crafted("forager-test-one", {"one.py": "x = 1\n"}))  # what it builds on exists
    secret = "hunter2-forager"
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"https://user:{secret}@index.example/simple")
    environment = crafted(
        "forager-test-secret", {"secret.py": "x = 1\n"}, install="printenv UV_INDEX | grep -c hunter >/seen"
    )
    tag = await ensure_environment(engine, environment)
    assert (await shell(engine, tag, "cat /seen")).strip() == "1", "the build itself may use it"
    image = await engine.call(engine.client.images.get, tag)
    assert secret not in json.dumps(image.attrs) + json.dumps(await engine.call(image.history))
    found = await shell(engine, tag, f"grep -ra {secret} / --exclude-dir=proc --exclude-dir=sys 2>/dev/null || true")
    assert found == ""
    await engine.call(engine.client.images.remove, tag)

    monkeypatch.setenv("https_proxy", f"http://user:{secret}@proxy.example:3128")
    failing = crafted("forager-test-secret", {"secret.py": ""}, install="env; echo ERROR: no luck; exit 3")
    with pytest.raises(BuildError, match="ERROR: no luck") as caught:
        await ensure_environment(engine, failing)
    assert "***@proxy.example" in caught.value.log
    assert secret not in caught.value.log


async def test_a_requirement_that_does_not_exist_is_named(engine: Engine) -> None:
    environment = crafted("forager-test-one", {"one.py": "x = 1\n"})
    missing = Environment(
        source=environment.source, sha256=environment.sha256, packages=("forager-no-such-package==1",)
    )
    with pytest.raises(BuildError, match="forager-no-such-package was not found in the package registry") as caught:
        await ensure_environment(engine, missing)
    assert "\n" not in str(caught.value)
    assert "No solution found" in caught.value.log


async def test_a_package_that_does_not_build_says_why(engine: Engine) -> None:
    broken = crafted("forager-test-broken", {"setup.py": "import no_such_module_of_ours\n"})
    with pytest.raises(BuildError, match="No module named 'no_such_module_of_ours'"):
        await ensure_environment(engine, broken)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("packages", ("six\n--index-url=http://evil",), "environment.packages"),
        ("packages", ("--index-url=http://evil",), "environment.packages"),
        ("system", ("$(reboot)",), "environment.system"),
        ("python", "3.11; reboot", "environment.python"),
        ("source", "git+https://example.com/x", "is not pypi:NAME==VERSION"),
        ("source", "pypi:six", "names no version"),
    ],
)
async def test_a_task_files_environment_is_read_with_care(
    engine: Engine, field: str, value: object, complaint: str
) -> None:
    given = {"source": "pypi:six==1.16.0", field: value}
    with pytest.raises(UsageError, match=complaint):
        await ensure_environment(engine, Environment(**given))  # type: ignore[arg-type]


async def test_a_full_disk_is_the_environments_fault(engine: Engine, base_image: str) -> None:
    with pytest.raises(UnfitError, match="disk is full"):
        await add_layer(
            engine,
            parent=base_image,
            tag="forager/test:full",
            kind="test",
            script="echo 'tar: x: No space left on device'; exit 1",
        )


async def test_a_cancelled_or_late_build_leaves_no_container(engine: Engine, base_image: str) -> None:
    def ours() -> list[dict[str, object]]:
        return [c for c in engine.api.containers(all=True) if str(c["Command"]).startswith("sleep 31")]

    started = asyncio.Event()
    build = asyncio.create_task(
        add_layer(
            engine,
            parent=base_image,
            tag="forager/test:cancelled",
            kind="test",
            script="echo '==> here'; sleep 1000",
            timeout=3100 - 60,
            report=lambda _: started.set(),
        )
    )
    await started.wait()
    assert len(ours()) == 1
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert ours() == []

    with pytest.raises(BuildError, match="not built within 0 s"):
        await add_layer(
            engine, parent=base_image, tag="forager/test:late", kind="test", script="sleep 1000", timeout=0.3
        )


async def test_those_who_ask_at_once_get_one_image(engine: Engine, base_image: str) -> None:
    tag = "forager/test:once"
    built = await asyncio.gather(
        *(add_layer(engine, parent=base_image, tag=tag, kind="test", script="date +%N >/when") for _ in range(4))
    )
    assert len(set(built)) == 1
    await engine.call(engine.client.images.remove, tag)


async def test_a_network_that_fails_for_a_while_is_waited_for(
    engine: Engine, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer, "FIRST_PAUSE", 0.01)
    tag, said = f"forager/test:patience-{os.getpid()}", []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")

        def report(line: str) -> None:
            said.append(line)
            if len(said) == 2:
                server.listen()

        script = f": </dev/tcp/127.0.0.1/{port}"
        await add_layer(engine, parent=base_image, tag=tag, kind="test", script=script, network=True, report=report)
        await engine.call(engine.client.images.remove, tag)
        assert len(said) == 2 and all("Connection refused; trying again in 0 s" in line for line in said)
    with pytest.raises(InfrastructureError, match="Connection refused"):
        await add_layer(engine, parent=base_image, tag=tag, kind="test", script=script, network=True)
