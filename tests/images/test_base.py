"""The base image: what is in it, where it comes from, and what is said when it cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import docker.errors
import pytest

from forager.errors import BuildError, UnfitError
from forager.images import base, debian, images_dir
from forager.images.base import base_tag, bootstrap_advice, ensure_base, registry_answers
from forager.images.build import build, image_exists
from forager.sandbox.docker import DockerSandbox
from forager.sandbox.engine import Engine
from tests.support.registry import registry

pytestmark = pytest.mark.docker


async def said(sandbox: DockerSandbox, command: str) -> str:
    result = await sandbox.run(command, 60)
    assert result.exit_code == 0, result.output
    return result.output.strip()


async def test_an_agent_finds_its_tools(sandbox: DockerSandbox) -> None:
    tools = "bash git python python3 pip gcc make patch ps less rg sed awk grep find diff xargs"
    await said(
        sandbox, f"for tool in {tools}; do command -v $tool >/dev/null || {{ echo no $tool; false; }} || break; done"
    )
    assert (await said(sandbox, "python -c 'import sys; print(sys.version_info >= (3, 11))'")) == "True"
    await said(
        sandbox, "python -m ensurepip --version && python -m venv --without-pip venv && venv/bin/python -c pass"
    )
    assert (
        await said(sandbox, "printf 'int main(void){return 0;}' >a.c && gcc a.c && ./a.out && echo built") == "built"
    )


async def test_nothing_of_the_host_is_in_it(engine: Engine, base_image: str, sandbox: DockerSandbox) -> None:
    image = engine.client.images.get(base_image)
    environment = image.attrs["Config"]["Env"]
    assert {entry.partition("=")[0] for entry in environment} == {"PATH", "LANG"}
    assert image.labels["forager.image"] == "base"
    history = str(image.history())
    assert "PROXY" not in history.upper()
    assert await said(sandbox, "grep -ril proxy /etc/apt || true") == ""
    assert await said(sandbox, "grep -rE '//[^/ ]*@' /etc/apt/sources.list* || true") == ""


def test_it_is_small(engine: Engine, base_image: str) -> None:
    assert engine.client.images.get(base_image).attrs["Size"] < 500e6


async def test_it_is_made_once(engine: Engine, base_image: str) -> None:
    said: list[str] = []
    made = engine.client.images.get(base_image).id
    assert await ensure_base(engine, said.append) == base_image == base_tag()
    assert engine.client.images.get(base_image).id == made and said == []


async def test_its_tag_follows_what_the_host_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = base_tag()
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nanother\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert base_tag() != before


async def test_a_certificate_of_the_host_is_trusted_by_python_and_openssl(engine: Engine, base_image: str) -> None:
    dockerfile = f"""FROM {base_image}
COPY trust.py /tmp/trust.py
RUN cd /tmp; set -e; \\
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out host.pem \\
        -subj /CN=Host-CA -days 9; \\
    python3 trust.py host.pem; \\
    openssl verify -CApath /etc/ssl/certs host.pem; \\
    python3 -c "import ssl; print('Host-CA' in str(ssl.create_default_context().get_ca_certs()))" | grep True; \\
    grep ca-certificates.crt /etc/pip.conf
"""
    tag = f"forager-tests/trust:{time.time_ns()}"
    trust = images_dir() / "base" / "trust.py"
    await build(engine, tag=tag, dockerfile=dockerfile, files={"trust.py": trust}, labels={"forager.tests": "1"})
    engine.client.images.remove(tag)


# ------------------------------------------------------------------------------------------------ registry


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has asked no registry yet."""
    monkeypatch.setattr(base, "_no_registry", set())


async def test_a_registry_that_answers_is_used(
    engine: Engine, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry() as name:
        monkeypatch.setattr(base, "REGISTRY_IMAGE", name)
        assert await registry_answers(engine)
        assert await base._from_registry(engine, lambda _: None)
        assert await image_exists(engine, name)
        engine.client.images.remove(name)


async def test_a_registry_that_keeps_silent_costs_seconds_once(
    engine: Engine, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "_REGISTRY_SECONDS", 0.5)
    with registry(silent=True) as name:
        monkeypatch.setattr(base, "REGISTRY_IMAGE", name)
        assert not await asyncio.wait_for(registry_answers(engine), 25)  # the registry itself keeps silent for longer
        monkeypatch.setattr(base, "_REGISTRY_SECONDS", 1000)  # asked again, it would be waited for
        assert not await asyncio.wait_for(registry_answers(engine), 25)


async def test_a_registry_that_gives_up_half_way_is_no_registry(
    engine: Engine, unasked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    with registry(missing_blobs=True) as name:
        monkeypatch.setattr(base, "REGISTRY_IMAGE", name)
        assert not await base._from_registry(engine, lines.append)
    assert "bootstrapping instead" in lines[-1]


# ----------------------------------------------------------------------------------------------- bootstrap


async def test_a_dead_mirror_is_one_line_and_leaves_no_image(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "sources", lambda suite: f"deb http://127.0.0.1:1/debian {suite} main\n")
    dangling = {image["Id"] for image in engine.api.images(filters={"dangling": True})}
    # Where a registry answers, set-up need not have installed mmdebstrap: then the line says how to.
    expected = UnfitError if bootstrap_advice() else BuildError
    with pytest.raises(expected) as caught:
        await base._bootstrapped(engine, lambda _: None)
    assert "\n" not in str(caught.value)
    assert ("apt-get install" if expected is UnfitError else "127.0.0.1") in str(caught.value)
    # What other tests build at the same time may be gone when it is asked about; an imported root has no command.
    for image in engine.api.images(filters={"dangling": True}):
        with contextlib.suppress(docker.errors.ImageNotFound):
            if image["Id"] not in dangling and not image["Labels"]:
                assert engine.client.images.get(image["Id"]).history()[0]["CreatedBy"]


def test_without_the_tools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "`sudo apt-get install mmdebstrap" in bootstrap_advice()
