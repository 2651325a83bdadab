"""Conversations, through the chat template of the tokenizer or another."""

from __future__ import annotations

import json

import pytest

from metavox import LLM, SamplingParams
from metavox.errors import InvalidRequest, UnknownArgument
from tests.checkpoints import write_checkpoint, write_tokenizer
from tests.integration.shared import GREEDY, assert_idle, token_ids

TEMPLATE = (
    "<s>{% for tool in tools or [] %}tool {{ tool.function.name }}\n{% endfor %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% if quiet is defined and quiet %} shh{% endif %}{% endif %}"
)

pytestmark = pytest.mark.usefixtures("one_thread")
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A checkpoint whose tokenizer begins every text with <s>, and has no template."""
    folder = write_checkpoint(tmp_path_factory.mktemp("bare"))
    write_tokenizer(folder, add_bos=True)
    return folder


@pytest.fixture(scope="module", params=["tokenizer_config.json", "chat_template.jinja"])
def llm(request, tmp_path_factory):
    folder = write_checkpoint(tmp_path_factory.mktemp("chat"))
    write_tokenizer(folder, add_bos=True)
    if request.param.endswith("jinja"):
        (folder / request.param).write_text(TEMPLATE)
    else:
        settings = json.loads((folder / request.param).read_text())
        (folder / request.param).write_text(json.dumps({**settings, "chat_template": TEMPLATE}))
    return LLM(folder)


def test_a_conversation_is_read_through_the_models_template(llm):
    output = llm.chat(ASK, GREEDY)
    assert output.prompt == "<s>system: Be brief.</s>user: Hello</s>assistant:"
    assert output.prompt_token_ids.count(1) == 1, "the template wrote <s>; the tokenizer must not add another"
    assert output.prompt_token_ids.count(2) == 2, "what the template wrote as a special token is one"
    same = llm.generate({"prompt_token_ids": output.prompt_token_ids}, GREEDY)
    assert token_ids([output]) == token_ids([same])


def test_several_conversations_are_answered_at_once_in_their_order(llm):
    other = [{"role": "user", "content": "the thin man"}]
    outputs = llm.chat([ASK, other], GREEDY)
    assert token_ids(outputs) == token_ids([llm.chat(ASK, GREEDY), llm.chat(other, GREEDY)])
    assert outputs[0].metrics.max_concurrency == 2
    assert isinstance(llm.chat([other], GREEDY), list)


def test_a_list_of_text_parts_is_read_as_its_text(llm):
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]
    output = llm.chat([{"role": "user", "content": parts}], GREEDY)
    assert output.prompt == "<s>user: Hello\nthere</s>assistant:"
    assert len(parts) == 2


def test_a_template_that_goes_through_the_parts_gets_them(llm):
    template = (
        "{%- for m in messages -%}{%- for part in m['content'] -%}[{{ part.text }}]{%- endfor -%}{%- endfor -%}"
    )
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]
    output = llm.chat([{"role": "user", "content": parts}], GREEDY, chat_template=template)
    assert output.prompt == "[Hello][there]"


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": "fox.png"}}, {"type": "text"}, "Hello", None], ids=str
)
def test_a_part_that_is_no_text_is_refused(llm, part):
    loop = "{% for part in messages[0].content %}{{ part }}{% endfor %}"
    for settings in ({}, {"chat_template": loop}):
        with pytest.raises(InvalidRequest, match="the engine takes no images"):
            llm.chat([{"role": "user", "content": [part]}], GREEDY, **settings)


def test_tools_and_more_names_reach_the_template(llm):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    output = llm.chat(ASK, GREEDY, tools=tools, chat_template_kwargs={"quiet": True})
    assert output.prompt.startswith("<s>tool weather\nsystem:")
    assert output.prompt.endswith("assistant: shh")


def test_the_answer_can_go_on_with_the_last_message(llm):
    begun = [*ASK, {"role": "assistant", "content": "Hello to"}]
    output = llm.chat(begun, GREEDY, continue_final_message=True, add_generation_prompt=False)
    assert output.prompt.endswith("assistant: Hello to")
    with pytest.raises(InvalidRequest, match="set add_generation_prompt=False"):
        llm.chat(begun, GREEDY, continue_final_message=True)


def test_a_conversation_can_be_streamed(llm):
    chunks = list(llm.stream_chat(ASK, GREEDY))
    whole = llm.chat(ASK, GREEDY)
    assert "".join(map(str, chunks)) == str(whole)
    assert chunks[-1].output.prompt == whole.prompt


def test_a_template_can_be_given(bare):
    llm = LLM(bare)
    with pytest.raises(
        InvalidRequest, match=r"has no chat template; give one \(chat_template=...\), or use generate"
    ):
        llm.chat(ASK, GREEDY)
    output = llm.chat(ASK, GREEDY, chat_template="{{ messages[-1].content }}?")
    assert output.prompt == "Hello?"


def test_without_a_tokenizer_there_is_no_chat(tmp_path):
    llm = LLM(write_checkpoint(tmp_path, tokenizer=False))
    with pytest.raises(InvalidRequest, match="Chat needs a tokenizer"):
        llm.chat(ASK, GREEDY)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for %}", "does not take these messages"),
        ("{{ messages[0].absent.name }}", "does not take these messages"),
        ("{{ 1 / 0 }}", "does not take these messages"),
        ("", "prompt is empty"),
    ],
)
def test_a_template_that_fails_is_the_requests_fault(llm, template, words):
    with pytest.raises(InvalidRequest, match=words):
        llm.chat(ASK, GREEDY, chat_template=template + "{# not empty #}")
    assert llm.chat(ASK, GREEDY).finished
    assert_idle(llm)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ("Hello", "messages must be a list such as"),
        ([], "messages must be a list such as"),
        ([[]], "messages must be a list such as"),
        ({"role": "user", "content": "x"}, "messages must be a list such as"),
        ([{"content": "x"}], "A message is a dict with a 'role'"),
        ([{"role": "user", "content": "x"}, "y"], "A message is a dict with a 'role'"),
        ([ASK, "y"], "messages must be a list such as"),
        ([{"role": "user", "content": "\ud800"}], "no valid Unicode"),
    ],
)
def test_what_is_no_conversation_is_refused(llm, messages, words):
    with pytest.raises(InvalidRequest, match=words):
        llm.chat(messages, GREEDY)
    assert_idle(llm)


@pytest.mark.parametrize("name", ["tokenize", "messages", "conversation", "return_dict", "tools", "padding"])
def test_more_names_for_the_template_cannot_change_what_the_call_does(llm, name):
    with pytest.raises(InvalidRequest, match=f"chat_template_kwargs.*{name}"):
        llm.chat(ASK, GREEDY, chat_template_kwargs={name: True})


def test_a_keyword_that_chat_does_not_have_is_refused(llm):
    with pytest.raises(UnknownArgument, match="chat does not know 'temperature'"):
        llm.chat(ASK, temperature=0)
    assert llm.chat(ASK, [SamplingParams(max_tokens=1)]).finished


def test_telemetry_is_told_which_requests_were_conversations(llm, monkeypatch):
    told = []
    take = lambda batch: told.extend(output.metrics.is_chat for output, _ in batch)  # noqa: E731
    monkeypatch.setattr(llm.recorder, "finished", take)
    llm.chat(ASK, GREEDY)
    list(llm.stream_chat(ASK, GREEDY))
    llm.generate("Hello", GREEDY)
    list(llm.stream("Hello", GREEDY))
    assert told == [True, True, False, False]
