"""What a failed test run says is missing, and which distribution brings it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import structs

from forager.forage import requirements
from forager.forage.plugins import plugins_for
from forager.records import Environment

_FIXTURES = {
    "mocker": "pytest-mock",
    "benchmark": "pytest-benchmark",
    "httpserver": "pytest-httpserver",
    "httpx_mock": "pytest-httpx",
    "requests_mock": "requests-mock",
    "snapshot": "syrupy",
    "subtests": "pytest-subtests",
    "faker": "faker",
    "fs": "pyfakefs",
    "datadir": "pytest-datadir",
    "shared_datadir": "pytest-datadir",
    "aiohttp_client": "pytest-aiohttp",
    "freezer": "pytest-freezer",
    "event_loop": "pytest-asyncio",
    "data_regression": "pytest-regressions",
    "file_regression": "pytest-regressions",
    "script_runner": "pytest-console-scripts",
}
"""Fixtures that a plugin brings."""

_DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "attr": "attrs",
    "dotenv": "python-dotenv",
    "jwt": "pyjwt",
    "OpenSSL": "pyopenssl",
    "Crypto": "pycryptodome",
    "serial": "pyserial",
    "usb": "pyusb",
    "git": "gitpython",
    "docx": "python-docx",
    "pkg_resources": "setuptools<81",
    "google.protobuf": "protobuf",
    "slugify": "python-slugify",
    "magic": "python-magic",
    "zmq": "pyzmq",
    "pytest_asyncio": "pytest-asyncio",
    "ruamel": "ruamel.yaml",
    "websocket": "websocket-client",
    "markdown_it": "markdown-it-py",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "rest_framework": "djangorestframework",
    "gi": "pygobject",
    "mpl_toolkits": "matplotlib",
    "win32api": "",
    "_typeshed": "",
    "distutils": "setuptools",
}
"""Modules whose distribution has another name; empty where there is none to install."""

_MISSING = re.compile(
    r"(?:ModuleNotFoundError: )?No module named ['\"]?([A-Za-z_][\w.]*)|Error importing plugin \"([\w.]+)\""
)
_NO_FIXTURE = re.compile(r"fixture '(\w+)' not found")
_UNKNOWN_OPTION = re.compile(
    r"unrecognized arguments?: (.*)|Unknown config option: (\w+)|Missing required plugins: (.*)"
)


def extend(environment: Environment, output: str, own: Iterable[str] = ()) -> Environment | None:
    """The environment with what a test run's `output` says is missing; None if it names nothing new.

    Meant for three rounds at most after a collection that failed. `own` are module names of the repository itself,
    never looked for on the index. The output is hostile: it can only name packages to install inside a container.
    """
    have = {requirements.name(text) for text in environment.packages}
    found: dict[str, str] = {}
    for match in _MISSING.finditer(output):
        module = match[1] or match[2]
        top = module.split(".")[0]
        if top not in own:
            found[_DISTRIBUTIONS.get(module, _DISTRIBUTIONS.get(top, top))] = ""
    for match in _NO_FIXTURE.finditer(output):
        found[_FIXTURES.get(match[1], "")] = ""
    for match in _UNKNOWN_OPTION.finditer(output):
        text = " ".join(filter(None, match.groups()))
        found |= dict.fromkeys(plugins_for(text), "")
        if match[3]:
            found |= dict.fromkeys(re.findall(r"[A-Za-z][\w.-]*", match[3]), "")
    fresh = [text for text in list(found)[:20] if (key := requirements.name(text)) and key not in have]
    if not fresh:
        return None
    packages = tuple(sorted({*environment.packages, *fresh}, key=str.lower))
    return structs.replace(environment, packages=packages)


_C = ("g++", "gcc", "libc6-dev", "make", "pkg-config")
_SYSTEM: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"'?\b(gcc|g\+\+|cc|c\+\+|x86_64-linux-gnu-\w+|aarch64-linux-gnu-\w+)'? failed: No such file", _C),
    (r"Unknown compiler|No CMAKE_\w+_COMPILER|No such file or directory: '(gcc|g\+\+|cc|make)'", _C),
    (
        r"Rust (compiler|toolchain)|(rustc|cargo)\b.{0,40}not (found|installed)|directory: '(cargo|rustc)'",
        ("cargo", *_C),
    ),
    (
        r"\b(cmake|CMake)\b.{0,60}(not found|No such file|must be installed)|directory: 'cmake'",
        ("cmake", "ninja-build", *_C),
    ),
    (r"(gfortran|Fortran compiler)\b.{0,40}(not found|No such)|No Fortran compiler", ("gfortran", *_C)),
    (r"\bswig\b.{0,40}(not found|No such)|directory: 'swig'", ("swig",)),
    (r"No such file or directory: '?git'?", ("git",)),
    (r"pg_config|libpq-fe\.h", ("libpq-dev", *_C)),
    (r"mysql_config|mysql\.h", ("default-libmysqlclient-dev", *_C)),
    (r"ffi\.h", ("libffi-dev", *_C)),
    (r"xmlversion\.h|xslt-config|libxml", ("libxml2-dev", "libxslt1-dev", *_C)),
    (r"openssl/\w+\.h", ("libssl-dev", *_C)),
    (r"zlib\.h", ("zlib1g-dev", *_C)),
    (r"jpeglib\.h|headers or library files could not be found for jpeg", ("libjpeg-dev", "zlib1g-dev", *_C)),
    (r"yaml\.h", ("libyaml-dev", *_C)),
    (r"curl-config", ("libcurl4-openssl-dev", *_C)),
    (r"sasl/sasl\.h", ("libsasl2-dev", *_C)),
    (r"lber\.h|ldap\.h", ("libldap2-dev", *_C)),
)
"""What a build prints, and the Debian packages that it lacks."""
_NO_DEBIAN = re.compile(
    r"E: Unable to locate package (\S+)|E: Package '([^']+)' has no installation candidate|for regex '([^']+)'"
)
_UNKNOWN = re.compile(r"Because ([A-Za-z0-9][\w.-]*) was not found in the package registry|no version of ([\w.-]+)")


def extend_build(environment: Environment, log: str, own: Iterable[str] = ()) -> Environment | None:
    """The environment changed as the output of its failed build asks: compilers and headers added, packages that
    nobody has left out; None if that says nothing new. A build without isolation gets the modules it misses."""
    system = set(environment.system)
    for match in _NO_DEBIAN.finditer(log):
        system.discard(next(filter(None, match.groups())))
    for pattern, packages in _SYSTEM:
        if re.search(pattern, log):
            system |= {*packages}
    unknown = {requirements.name(next(filter(None, match.groups()))) for match in _UNKNOWN.finditer(log)}
    kept = tuple(text for text in environment.packages if requirements.name(text) not in unknown or text == "pytest")
    changed = structs.replace(environment, system=tuple(sorted(system)), packages=kept)
    if "--no-build-isolation" in environment.install:
        changed = extend(changed, log, own) or changed
    return None if changed == environment else changed
