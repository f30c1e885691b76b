"""Source archives: what is honest arrives as it was, what is hostile is refused by name."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from forager.errors import ForageError
from forager.images import archive
from forager.images.archive import clean_tar, read
from tests.support.index_server import Fill, tar_of, zip_of

HONEST = {"pkg-1.0/pkg/__init__.py": b"x = 1\n", "pkg-1.0/README": b"hello\r\n"}


def special(name: str, kind: bytes, link: str = "", data: bytes = b"") -> Fill:
    def fill(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(data)
        tar.addfile(info, io.BytesIO(data))

    return fill


def written(folder: Path, data: bytes, suffix: str = ".tar.gz") -> Path:
    path = folder / f"pkg-1.0{suffix}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".tar.gz", tar_of(HONEST)),
        (".tar.bz2", tar_of(HONEST, "bz2")),
        (".tar.xz", tar_of(HONEST, "xz")),
        (".zip", zip_of(HONEST)),
    ],
    ids=["gz", "bz2", "xz", "zip"],  # not the data, which holds the time
)
def test_every_format_gives_the_same_tree(tmp_path: Path, suffix: str, data: bytes) -> None:
    members = {member.path: member.data for member in read(written(tmp_path, data, suffix))}
    assert members == {"pkg/__init__.py": b"x = 1\n", "README": b"hello\r\n"}


@pytest.mark.parametrize(
    ("fill", "complaint"),
    [
        (special("../evil", tarfile.REGTYPE, data=b"x"), "'../evil' leaves the folder"),
        (special("pkg-1.0/../../evil", tarfile.REGTYPE, data=b"x"), "leaves the folder"),
        (special("/etc/evil", tarfile.REGTYPE, data=b"x"), "'/etc/evil' leaves the folder"),
        (special("../evil", tarfile.DIRTYPE), "leaves the folder"),
        (special("pkg-1.0/link", tarfile.SYMTYPE, "/etc/passwd"), "links to '/etc/passwd', out of the folder"),
        (special("pkg-1.0/link", tarfile.SYMTYPE, "../../x"), "out of the folder"),
        (special("pkg-1.0/a/link", tarfile.SYMTYPE, "../../other"), "out of the folder"),
        (special("pkg-1.0/link", tarfile.LNKTYPE, "/etc/passwd"), "leaves the folder"),
        (special("pkg-1.0/link", tarfile.LNKTYPE, "pkg-1.0/nowhere"), "links to nothing"),
        (special("pkg-1.0/null", tarfile.CHRTYPE), "'pkg-1.0/null' is a device or a pipe"),
        (special("pkg-1.0/disk", tarfile.BLKTYPE), "is a device or a pipe"),
        (special("pkg-1.0/pipe", tarfile.FIFOTYPE), "is a device or a pipe"),
        (special("pkg-1.0/README/under", tarfile.REGTYPE, data=b"x"), "lies under a file"),
    ],
)
def test_a_member_that_leaves_the_folder_is_refused_by_name(tmp_path: Path, fill: Fill, complaint: str) -> None:
    with pytest.raises(ForageError) as caught:
        list(read(written(tmp_path, tar_of(HONEST, fill=fill))))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_member_that_goes_through_a_link_is_refused(tmp_path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        special("pkg-1.0/alias", tarfile.SYMTYPE, "pkg")(tar)
        special("pkg-1.0/alias/evil", tarfile.REGTYPE, data=b"x")(tar)

    with pytest.raises(ForageError, match=r"'pkg-1.0/alias/evil' goes through a link"):
        list(read(written(tmp_path, tar_of(HONEST, fill=fill))))


@pytest.mark.parametrize("name", ["../evil", "/evil", "pkg-1.0\\..\\..\\evil", "C:/evil"])
def test_a_zip_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ForageError, match="leaves the folder"):
        list(read(written(tmp_path, zip_of({**HONEST, name: b"x"}), ".zip")))


def test_a_link_in_a_zip_is_a_link(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        info = zipfile.ZipInfo("pkg-1.0/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    with pytest.raises(ForageError, match="out of the folder"):
        list(read(written(tmp_path, out.getvalue(), ".zip")))


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, tar_of({f"pkg-1.0/{n}": b"0" * 100 for n in range(20)}))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 10)
    with pytest.raises(ForageError, match="more than 10 members"):
        list(read(path))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 100)
    monkeypatch.setattr(archive, "MAX_BYTES", 1000)
    with pytest.raises(ForageError, match="unpacked; refused"):
        list(read(path))
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(ForageError, match=r"'pkg-1.0/0' is larger"):
        list(read(path))


@pytest.mark.parametrize("suffix", archive.SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"not an archive at all", tar_of(HONEST)[:80]], ids=["empty", "text", "cut"])
def test_a_broken_archive_is_one_line(tmp_path: Path, suffix: str, data: bytes) -> None:
    with pytest.raises(ForageError, match="cannot be read as a source archive") as caught:
        list(read(written(tmp_path, data, suffix)))
    assert "\n" not in str(caught.value)


def test_links_inside_stay_and_leftovers_go(tmp_path: Path) -> None:
    files = {
        **HONEST,
        "pkg-1.0/.git/config": b"history",
        "pkg-1.0/pkg/__pycache__/x.cpython-311.pyc": b"compiled",
        "pkg-1.0/pkg/old.pyc": b"compiled",
        "pkg-1.0/build/lib/pkg/__init__.py": b"x = 1\n",
        "pkg-1.0/dist/pkg-1.0-py3-none-any.whl": b"wheel",
        "pkg-1.0/src/build/lib.py": b"a module of that name",
        "pkg-1.0/pkg.egg-info/PKG-INFO": b"kept",
    }

    def fill(tar: tarfile.TarFile) -> None:
        special("pkg-1.0/docs/alias", tarfile.SYMTYPE, "../README")(tar)
        special("pkg-1.0/same", tarfile.LNKTYPE, "pkg-1.0/README")(tar)

    members = {member.path: member for member in read(written(tmp_path, tar_of(files, fill=fill)))}
    assert sorted(members) == [
        "README",
        "docs/alias",
        "pkg.egg-info/PKG-INFO",
        "pkg/__init__.py",
        "same",
        "src/build/lib.py",
    ]
    assert members["docs/alias"].link == "../README"
    assert members["same"].data == b"hello\r\n"


def test_the_clean_tar_says_nothing_of_who_made_it(tmp_path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("pkg-1.0/run")
        info.mode, info.uid, info.uname, info.mtime, info.size = 0o4777, 1234, "someone", 42, 1
        tar.addfile(info, io.BytesIO(b"x"))

    data = clean_tar(read(written(tmp_path, tar_of(HONEST, fill=fill))))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {info.name: info for info in tar}
    assert {info.mtime for info in found.values()} == {archive.TIME}
    assert {(info.uid, info.uname) for info in found.values()} == {(0, "")}
    assert (found["run"].mode, found["README"].mode, found["pkg"].mode) == (0o755, 0o644, 0o755)
