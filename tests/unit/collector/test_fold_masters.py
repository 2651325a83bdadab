from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from metavox_collector.errors import FoldFailed, NotAllowed
from metavox_collector.fold.masters import require_reachable


@pytest.fixture
def there() -> Iterator[str]:
    """An address at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def absent() -> Iterator[str]:
    """An address at which nobody listens, and which nobody else is given meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that answers nobody: as many wait to be heard as may."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"127.0.0.1:{address[1]}"


def test_a_master_that_is_there_is_let_pass(there):
    require_reachable(f"spark://{there}")


def test_a_master_that_nobody_listens_for_is_told(absent):
    with pytest.raises(
        FoldFailed, match=rf"at spark://{absent} cannot be reached: 127.* Connection refused; is that"
    ):
        require_reachable(f"spark://{absent}")


def test_a_master_that_says_nothing_is_told(silent):
    with pytest.raises(FoldFailed, match=r"cannot be reached: 127.* timed out; is that"):
        require_reachable(f"spark://{silent}", patience_s=0.1)


def test_a_master_whose_name_nobody_knows_is_told():
    with pytest.raises(FoldFailed, match=r"cannot be reached: master\.invalid port 7077: "):
        require_reachable("spark://master.invalid:7077")


def test_of_several_masters_one_that_is_there_is_enough(there, absent, silent):
    require_reachable(f"spark://{absent},{there}", patience_s=0.1)
    require_reachable(f"spark://{there},{absent},{silent}", patience_s=0.1)
    with pytest.raises(FoldFailed, match=r"127.* Connection refused; 127.* timed out; is that"):
        require_reachable(f"spark://{absent},{silent}", patience_s=0.1)


@pytest.mark.parametrize("master", ["local", "local[2]", "local-cluster[2,1,1024]", "yarn", "k8s://https://a:6443"])
def test_other_kinds_of_master_are_sparks_own_matter(master, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", None)
    require_reachable(master)


@pytest.mark.parametrize(
    "written", ["", "host", ":7077", "host:", "host:x", "host:70770", "[::1:7077", "a..b:7077", "u@"]
)
def test_an_address_without_host_or_port_is_told_how_to_write_it(there, written):
    with pytest.raises(
        NotAllowed, match=r"^'spark://.*' is no Spark master's address; write it like spark://host:7077"
    ):
        require_reachable(f"spark://{there},{written}")
