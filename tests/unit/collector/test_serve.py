from __future__ import annotations

import errno
import socket

import pytest

from metavox_collector.errors import NotAllowed
from metavox_collector.serve import listen


def test_a_free_port_is_listened_on():
    with listen("127.0.0.1", 0, allow_public=False) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "collector.example"])  # noqa: S104
def test_an_address_that_others_can_reach_is_refused(host):
    with pytest.raises(NotAllowed, match="has no TLS yet"):
        listen(host, 0, allow_public=False)


def test_a_machine_without_ipv6_is_told_so(monkeypatch):
    def absent(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", absent)
    with pytest.raises(NotAllowed, match=r"cannot listen on ::1 port 8320: .*not supported"):
        listen("::1", 8320, allow_public=False)
