"""Methods of somebody else's class are wrapped, look as before, and are given back."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from metavox.telemetry.instrument.patch import wrap


def classes() -> tuple[type, type]:
    class Base:
        def speak(self, words: str, *, loud: bool = False) -> str:
            """Says it."""
            return words.upper() if loud else words

    class Engine(Base):
        pass

    return Base, Engine


def louder(original: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return original(instance, *args, **{**kwargs, "loud": True})


def test_a_wrapped_method_keeps_its_name_signature_and_documentation():
    _, engine = classes()
    before = inspect.signature(engine.speak)
    wrap(engine, {"speak": louder})

    assert engine().speak("hello") == "HELLO"
    assert inspect.signature(engine.speak) == before
    assert (engine.speak.__name__, engine.speak.__doc__) == ("speak", "Says it.")


def test_a_method_that_is_inherited_is_wrapped_where_it_stands_and_given_back_there():
    base, engine = classes()
    original = base.__dict__["speak"]
    restore = wrap(engine, {"speak": louder})

    assert "speak" not in engine.__dict__
    restore()
    assert base.__dict__["speak"] is original
    assert engine().speak("hello") == "hello"


def test_a_wrapper_around_ours_stays_and_ours_does_nothing_more():
    base, engine = classes()
    restore = wrap(engine, {"speak": louder})
    ours = base.speak
    base.speak = lambda self, words: f"<{ours(self, words)}>"
    restore()

    assert engine().speak("hello") == "<hello>"


def test_when_one_method_is_not_there_none_is_wrapped():
    base, engine = classes()
    original = base.__dict__["speak"]
    with pytest.raises(AttributeError, match="Engine has no sing"):
        wrap(engine, {"speak": louder, "sing": louder})

    assert base.__dict__["speak"] is original
