from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from metavox.telemetry.home import private_files
from metavox.telemetry.home.private_files import (
    NOWHERE,
    is_somebody_elses,
    locked,
    make_private_folder,
    write_whole,
)


def test_a_file_is_for_its_owner_alone_and_whole(tmp_path: Path):
    file = tmp_path / "answer"
    write_whole(file, "first", is_first=True)
    write_whole(file, "second", is_first=False)

    assert file.read_text() == "second"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_first_file_never_takes_anothers_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool):
    def unsupported(*_: object) -> None:
        raise PermissionError("no such links on this disk")

    if not has_links:
        monkeypatch.setattr("os.link", unsupported)
    file = tmp_path / "answer"
    file.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write_whole(file, "first", is_first=True)

    assert os.readlink(file) == "nowhere"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "answer", "first", is_first=True)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_told_by_the_name_of_the_file_that_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def denied(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".consent-x1y2"))

    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(PermissionError) as raised:
        write_whole(tmp_path / "consent.json", "first", is_first=True)

    assert raised.value.filename == str(tmp_path / "consent.json")


def test_folders_are_made_for_their_owner_alone(tmp_path: Path):
    make_private_folder(tmp_path / "a" / "b")

    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]
    make_private_folder(tmp_path / "a" / "b")


def test_without_a_home_there_is_no_folder_and_the_error_says_what_to_do():
    with pytest.raises(OSError, match="METAVOX_HOME can name one"):
        make_private_folder(NOWHERE)


def test_a_folder_that_somebody_holds_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(private_files, "_LONGEST_WAIT", 0.05)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    began = time.monotonic()
    with locked(tmp_path):
        waited = time.monotonic() - began
    os.close(holder)

    assert 0.05 <= waited < 10
    with locked(tmp_path):  # and it is free again
        other = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)


def test_a_folder_that_is_not_there_cannot_be_locked_and_stops_nobody(tmp_path: Path):
    with locked(tmp_path / "missing"):
        assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_nowhere_is_no_folder_of_ours(tmp_path: Path):
    (tmp_path / "link").symlink_to("nowhere")

    assert is_somebody_elses(tmp_path / "link")
    assert not is_somebody_elses(tmp_path / "missing" / "deep")
