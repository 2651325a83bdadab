from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metavox_collector.admission.tokens import Tokens, mint, read
from metavox_collector.errors import NotAllowed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens"


def test_a_minted_token_is_accepted_by_the_line_that_came_with_it(path):
    token, line = mint()
    path.write_text(f"# the laboratory's\n\n{line}  # since 2026-W47\n")
    tokens = read(path)
    assert tokens.accept(f"Bearer {token}")
    assert tokens.accept(f"bearer  {token} ")


def test_every_token_of_the_file_is_good_so_that_one_can_follow_another(path):
    first, second = mint(), mint()
    path.write_text(f"{first[1]}\n{second[1]}\n")
    assert all(read(path).accept(f"Bearer {token}") for token, _ in (first, second))


def test_no_two_tokens_are_the_same():
    assert mint()[0] != mint()[0]


@pytest.mark.parametrize("form", ["{}", "Basic {}", "Bearer", "Bearer ", "Bearer {}x", "Bearer {} {}", "Bearer{}"])
def test_anything_but_the_whole_token_as_a_bearer_is_not_accepted(path, form):
    token, line = mint()
    path.write_text(line)
    assert not read(path).accept(form.format(token, token))


def test_no_header_and_the_files_own_line_are_not_accepted(path):
    _, line = mint()
    path.write_text(line)
    tokens = read(path)
    assert not tokens.accept(None)
    assert not tokens.accept(f"Bearer {line}")
    assert not tokens.accept(f"Bearer {line.removeprefix('sha256:')}")


@given(st.text())
def test_no_header_makes_it_fail(header):
    assert not Tokens((b"\0" * 32,)).accept(f"Bearer {header}")


def test_the_file_does_not_hold_the_token():
    token, line = mint()
    assert token not in line


def test_a_token_in_place_of_its_hash_is_refused_without_repeating_it(path):
    token, line = mint()
    path.write_text(f"{line}\n{token}\n")
    with pytest.raises(NotAllowed, match=r"line 2: .*metavox-collector token") as refused:
        read(path)
    assert token not in str(refused.value)


@pytest.mark.parametrize("content", ["", "\n", "# nothing but words\n"])
def test_a_file_without_a_token_is_refused_for_it_would_shut_everybody_out(path, content):
    path.write_text(content)
    with pytest.raises(NotAllowed, match="holds no token"):
        read(path)
