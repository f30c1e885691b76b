"""Environment and repository layers: base -> tools (uv) -> dependencies -> repository.

Dependencies are keyed by themselves alone, so repositories that need the same share the layer. Packages go to a
virtual environment at `/opt/venv`, first on `PATH`: a plain `python -m pytest` works, and Debian's own Python stays
as it is.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator

from msgspec import structs

from forager.errors import BuildError, UsageError
from forager.images import images_dir
from forager.images.archive import Member, clean_tar, read
from forager.images.base import base_tag, ensure_base
from forager.images.build import Report, image_exists
from forager.images.index import fetch, parse_spec
from forager.images.interpreter import ensure_python, missing_python
from forager.images.layer import add_layer
from forager.images.published import ensure_published
from forager.records import Environment, digest
from forager.sandbox.engine import Engine

WORKDIR = "/testbed"
VENV = "/opt/venv"
VENV_PATH = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LAYER_SECONDS = 1800.0
"""That a layer may take, unless told otherwise."""

_SCRIPTS = ("release", "install", "vendored", "release-end")
_FREEZE = f"/opt/uv/bin/uv pip freeze --python {VENV}/bin/python --exclude-editable"


async def ensure_environment(
    engine: Engine, environment: Environment, report: Report | None = None, *, timeout: float = LAYER_SECONDS
) -> str:
    """The tag of the repository image: dependencies installed, the clean tree at `/testbed`, not yet sealed.

    At once if it exists. The tree is installed in editable mode, so what is imported is the working tree; its `.git`
    has one commit that tracks exactly the released files. `timeout` in seconds is each layer's.
    Raises `UsageError` for a source that cannot be built, `ForageError` for one that cannot be had, `BuildError` and
    `UnfitError` for what happens while building.
    """
    if environment.problem:
        raise BuildError(environment.problem)
    if environment.commit:
        from forager.images.repository import ensure_repository

        return await ensure_repository(engine, environment, report, timeout=timeout)
    base = await ensure_base(engine, report)
    tag = _repository_tag(base, environment)
    if await image_exists(engine, tag):
        return tag
    sdist = await fetch(environment.source, sha256=environment.sha256, report=report)
    parent = await ensure_dependencies(engine, base, environment, report, timeout=timeout)

    def tree() -> Iterator[Member]:
        for member in read(sdist.path):
            yield Member(
                path=f"{WORKDIR[1:]}/{member.path}", data=member.data, link=member.link, executable=member.executable
            )

    version = {"SETUPTOOLS_SCM_PRETEND_VERSION": sdist.version, "PBR_VERSION": sdist.version}
    await add_layer(
        engine,
        parent=parent,
        tag=tag,
        kind="repository",
        script=environment_script(*_SCRIPTS),
        files=clean_tar(tree()),
        settings={**environment.env, **version, **newest(environment), "INSTALL": environment.install},
        network=True,
        env={**environment.env, "PATH": VENV_PATH, "VIRTUAL_ENV": VENV},
        workdir=WORKDIR,
        timeout=timeout,
        report=report,
    )
    return tag


def environment_tag(environment: Environment) -> str:
    """The tag of the image that `ensure_environment` gives, whether it exists or not. Raises `UsageError`."""
    root = environment.image or base_tag()
    if not environment.commit:
        return _repository_tag(root, environment)
    from forager.images.repository import repository_tag

    return repository_tag(dependencies_tag(root, environment), environment)


async def freeze(engine: Engine, environment: Environment, report: Report | None = None) -> Environment:
    """The environment with `packages` pinned to what is installed, so that a task rebuilds the same elsewhere.

    The image made for the unpinned one is known under the pinned one's tag too: nothing is built twice here.
    """
    tag = await ensure_environment(engine, environment, report)
    output = await engine.call(
        engine.client.containers.run,
        tag,
        ["bash", "-c", _FREEZE],
        remove=True,
        network_mode="none",
        user="0:0",
        stderr=False,
    )
    pins = re.findall(rb"^([A-Za-z0-9][\w.-]*==[\w.!+-]+)\s*$", output, re.MULTILINE)
    left_out = {"pip"} if environment.commit else {"pip", _plain_name(parse_spec(environment.source)[0])}
    packages = sorted(pin.decode() for pin in pins if _plain_name(pin.decode().split("==")[0]) not in left_out)
    pinned = structs.replace(environment, packages=tuple(packages), before="")
    if not pinned.packages:
        raise BuildError(f"{tag}: the list of installed packages cannot be read", output.decode("utf-8", "replace"))
    repository, version = environment_tag(pinned).rsplit(":", 1)
    await engine.call(engine.api.tag, tag, repository, version)
    return pinned


def _plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


async def ensure_dependencies(
    engine: Engine,
    base: str,
    environment: Environment,
    report: Report | None = None,
    *,
    timeout: float = LAYER_SECONDS,
) -> str:
    """The tag of the image with everything but the repository, shared by all that need the same."""
    tag = dependencies_tag(base, environment)
    if await image_exists(engine, tag):
        return tag
    tools = f"forager/tools:{digest([base, environment_script('tools')])[:16]}"
    if not await image_exists(engine, tools):
        await add_layer(
            engine,
            parent=base,
            tag=tools,
            kind="tools",
            script=environment_script("tools"),
            network=True,
            report=report,
        )
    parent, python = await ensure_python(engine, tools, environment.python, report)
    lines = {"requirements": environment.packages, "pins": environment.pins}
    try:
        await add_layer(
            engine,
            parent=parent,
            tag=tag,
            kind="environment",
            script=_dependencies_script(environment),
            files=files_tar(
                {name: "".join(f"{line}\n" for line in wanted).encode() for name, wanted in lines.items()}
            ),
            settings={"PYTHON": python, "SYSTEM": " ".join(environment.system), **newest(environment)},
            network=True,
            env={"PATH": VENV_PATH, "VIRTUAL_ENV": VENV},
            timeout=timeout,
            report=report,
        )
    except BuildError as error:
        if python == environment.python and "no virtual environment of Python" in str(error):
            raise BuildError(f"{tag}: {missing_python(python)}", error.log) from None
        raise
    return tag


async def ensure_root(engine: Engine, environment: Environment, report: Report | None = None) -> str:
    """The tag of the image that an environment is built on: the one it names, or Forager's base."""
    if environment.image:
        return await ensure_published(engine, environment.image, report)
    return await ensure_base(engine, report)


def newest(environment: Environment) -> dict[str, str]:
    """The setting that keeps uv from releases that are too new for an environment."""
    return {"UV_EXCLUDE_NEWER": environment.before} if environment.before else {}


def _dependencies_script(environment: Environment) -> str:
    script = environment_script("dependencies", *(["pins"] if environment.pins else []), "dependencies-end")
    if re.match(r"3\.[0-6](\.|$)", environment.python):  # uv compiles for 3.7 and later only
        script = script.replace(" --compile-bytecode", "")
    if environment.before:  # that is about packages, not about the pip that comes with every environment
        script = script.replace("\nuv venv ", "\nenv --unset=UV_EXCLUDE_NEWER uv venv ")
    return script


def files_tar(files: dict[str, bytes]) -> bytes:
    """A tar that puts `files` into `/.forager/in`, where the scripts of a layer look."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f".forager/in/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _key(base: str, environment: Environment) -> str:
    """What decides the dependencies."""
    _check(environment)
    wanted = [sorted(environment.packages), sorted(environment.system), environment.python]
    pins = [sorted(environment.pins)] if environment.pins else []
    pins += [["before", environment.before]] if environment.before else []
    return digest([base, environment_script("tools"), _dependencies_script(environment), wanted, *pins])


def dependencies_tag(base: str, environment: Environment) -> str:
    """The tag of the image that `ensure_dependencies` gives, whether it exists or not. Raises `UsageError`."""
    return f"forager/environment:{_key(base, environment)[:16]}"


def _repository_tag(base: str, environment: Environment) -> str:
    name, version = parse_spec(environment.source)
    if not version:
        raise UsageError(f"environment source {environment.source!r} names no version; a task needs one")
    parts = [_key(base, environment), name, version, environment.sha256, environment.install, environment.env]
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{name}-{version}")[:80]
    return f"forager/repository:{plain}-{digest([*parts, environment_script(*_SCRIPTS)])[:16]}"


def _check(environment: Environment) -> None:
    """What comes from a task file goes into a shell's words and a requirements file: only plain ones may."""
    for package in environment.system:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.:-]*", package):
            raise UsageError(f"environment.system: {package!r} is not the name of a Debian package")
    for package in (*environment.packages, *environment.pins):
        if not re.fullmatch(r"[A-Za-z0-9][^\r\n]*", package):
            raise UsageError(f"environment.packages: {package!r} is not a requirement")
    if environment.python and not re.fullmatch(r"\d+\.\d+(\.\d+)?", environment.python):
        raise UsageError(f"environment.python: {environment.python!r} is not a version such as 3.11")
    if environment.before and not re.fullmatch(r"\d{4}-\d\d-\d\d(T[\d:.]+Z)?", environment.before):
        raise UsageError(f"environment.before: {environment.before!r} is not a date such as 2024-01-31T12:00:00Z")


def environment_script(*names: str) -> str:
    return "".join((images_dir() / "environment" / name).read_text() for name in names)
