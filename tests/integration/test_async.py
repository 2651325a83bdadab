"""AsyncLLM: many tasks, each of which may go away."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import threading
import time

import pytest

from metavox import LLM, AsyncLLM, SamplingParams
from metavox.calls import Settings
from metavox.errors import EngineLost, InvalidRequest, NonFiniteLogits, UnknownArgument
from tests.integration.shared import GREEDY, assert_idle, some_prompts, token_ids

pytestmark = pytest.mark.usefixtures("one_thread")

LONG = SamplingParams(seed=1, max_tokens=200, ignore_eos=True)


@pytest.fixture(scope="module")
def llm(folder):
    return AsyncLLM(folder)


def stepping_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "metavox-engine"]


def check_quiet(llm: AsyncLLM) -> None:
    """Soon nothing is left of any request, and no thread steps."""
    until = time.monotonic() + 10
    while (stepping_threads() or llm._llm._driver.has_work) and time.monotonic() < until:
        time.sleep(0.005)
    assert not stepping_threads()
    assert_idle(llm._llm)


def test_many_tasks_run_together_and_get_what_a_plain_llm_gives(llm, folder):
    prompts = some_prompts(20)
    expected = token_ids(LLM(folder).generate(prompts, GREEDY))

    async def main():
        return await asyncio.gather(*(llm.generate(prompt, GREEDY) for prompt in prompts))

    outputs = asyncio.run(main())
    assert token_ids(outputs) == expected
    assert max(output.metrics.max_concurrency for output in outputs) > 10
    check_quiet(llm)


def test_streams_of_many_tasks(llm):
    prompts = some_prompts(8)

    async def read(prompt):
        return [chunk async for chunk in llm.stream(prompt, GREEDY)]

    async def main():
        return await asyncio.gather(*map(read, prompts))

    for chunks in asyncio.run(main()):
        completion = chunks[-1].output.outputs[0]
        assert [token for chunk in chunks for token in chunk.token_ids] == completion.token_ids
        assert "".join(map(str, chunks)) == completion.text
        assert len(chunks) > 1
    check_quiet(llm)


def test_the_loop_goes_on_while_the_model_works(llm):
    async def main():
        task, turns = asyncio.ensure_future(llm.generate("the", LONG)), 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(main()) > 20


@pytest.fixture
def steps(llm, monkeypatch):
    """One entry for each step that the model makes."""
    model, made = llm._llm._driver.engine.runner.model, []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda ids, *rest: made.append(len(ids)) or forward(ids, *rest))
    return made


def test_a_cancelled_task_frees_what_it_held_and_harms_no_other(llm, steps):
    async def main():
        doomed = [asyncio.ensure_future(llm.generate(prompt, LONG)) for prompt in some_prompts(5)]
        kept = asyncio.ensure_future(llm.generate("the", GREEDY))
        await asyncio.sleep(0.02)
        for task in doomed:
            task.cancel()
        found = await asyncio.gather(*doomed, return_exceptions=True)
        assert all(isinstance(error, asyncio.CancelledError) for error in found)
        return await kept

    assert asyncio.run(main()).finished
    check_quiet(llm)
    assert len(steps) < LONG.max_tokens


def test_a_timeout_ends_the_request(llm, steps):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(llm.generate("the", LONG), timeout=0.01)
        return (await llm.generate("the", GREEDY)).metrics.max_concurrency

    asyncio.run(main())
    check_quiet(llm)
    assert len(steps) < LONG.max_tokens


@pytest.mark.parametrize("how", ["break", "aclose", "cancel", "never begun", "never begun, dropped"])
def test_leaving_a_stream_early_frees_everything(llm, steps, how):
    async def read():
        async for _ in llm.stream("the", LONG):
            if how == "break":
                break

    async def main():
        if how == "aclose":
            stream = llm.stream("the", LONG)
            await stream.__anext__()
            await stream.aclose()
        elif how == "cancel":
            task = asyncio.ensure_future(read())
            await asyncio.sleep(0.02)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif how == "break":
            await read()
        else:
            stream = llm.stream("the", LONG)
            if how.endswith("dropped"):
                del stream
        await asyncio.sleep(0)
        return await llm.generate("one", GREEDY)

    assert asyncio.run(main()).finished
    gc.collect()
    check_quiet(llm)
    assert len(steps) < LONG.max_tokens


def test_a_stream_is_counted_when_its_last_chunk_is_told(llm, monkeypatch):
    counted = []
    monkeypatch.setattr(llm._llm.recorder, "finished", lambda batch: counted.extend(batch))

    async def main():
        async for chunk in llm.stream("the", GREEDY):
            if chunk.finish_reason:
                break
        assert len(counted) == 1
        assert [chunk async for chunk in llm.stream("the", GREEDY)][-1].finish_reason
        assert len(counted) == 2
        assert all(output.metrics.is_streamed for output, _ in counted)

    asyncio.run(main())
    check_quiet(llm)


def test_a_loop_that_was_closed_takes_no_one_with_it(llm):
    loop = asyncio.new_event_loop()
    task = loop.create_task(llm.generate("the", LONG))
    loop.run_until_complete(asyncio.sleep(0.01))
    task._log_destroy_pending = False
    loop.close()  # with the task in the middle of its request, which the engine goes on with
    assert asyncio.run(_generate(llm)).finished
    del task
    gc.collect()
    check_quiet(llm)


async def _generate(llm):
    return await llm.generate("the", GREEDY)


def test_two_of_them_and_two_loops_in_one_process(folder, llm):
    other = AsyncLLM(folder)
    found, errors = {}, []

    def run(name, mine):
        try:
            found[name] = asyncio.run(gather(mine))
        except BaseException as error:
            errors.append(error)

    async def gather(mine):
        return token_ids(await asyncio.gather(*(mine.generate(prompt, GREEDY) for prompt in some_prompts(6))))

    threads = [threading.Thread(target=run, args=pair) for pair in (("a", llm), ("b", llm), ("c", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert found["a"] == found["b"] == found["c"]
    check_quiet(llm)
    asyncio.run(other.close())


def test_a_bad_request_fails_alone_and_at_once(llm):
    async def main():
        with pytest.raises(InvalidRequest, match="prompt is empty"):
            llm.stream("")
        return await asyncio.gather(llm.generate("the", GREEDY), llm.generate("", GREEDY), return_exceptions=True)

    good, bad = asyncio.run(main())
    assert good.finished
    assert isinstance(bad, InvalidRequest)
    check_quiet(llm)


def test_a_failing_step_is_told_to_each_task_and_the_next_one_works(folder):
    llm = AsyncLLM(folder)
    model = llm._llm._driver.engine.runner.model
    forward, logits = model.forward, model.logits

    def fails(*_):
        raise RuntimeError("the device is unwell")

    async def main():
        model.forward = fails
        tasks = (llm.generate(prompt, GREEDY) for prompt in some_prompts(3))
        failed = await asyncio.gather(*tasks, return_exceptions=True)
        assert all("unwell" in str(error) for error in failed)
        model.forward = forward
        model.logits = lambda hidden: logits(hidden).fill_(float("nan"))
        with pytest.raises(NonFiniteLogits):
            await llm.generate("the", GREEDY)
        model.logits = logits
        return await llm.generate("the", GREEDY)

    assert asyncio.run(main()).finished
    check_quiet(llm)


def test_closing_while_requests_run_ends_them_with_engine_lost(folder):
    async def main():
        async with AsyncLLM(folder) as llm:
            tasks = [asyncio.ensure_future(llm.generate(prompt, LONG)) for prompt in some_prompts(5)]
            stream = llm.stream("the", LONG)
            await stream.__anext__()
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert all(isinstance(error, EngineLost) for error in ended)
        with pytest.raises(EngineLost):
            async for _ in stream:
                pass
        with pytest.raises(EngineLost):
            await llm.generate("the", GREEDY)
        await llm.close()

    asyncio.run(main())
    assert not stepping_threads()


def test_a_conversation_can_be_awaited_and_streamed(llm):
    template = {"chat_template": "{{ messages[-1].content }}:"}
    ask = [{"role": "user", "content": "the"}]

    async def main():
        whole = await llm.chat(ask, GREEDY, **template)
        parts = [chunk async for chunk in llm.stream_chat(ask, GREEDY, **template)]
        return whole, parts

    whole, parts = asyncio.run(main())
    assert whole.prompt == "the:"
    assert whole.metrics.is_chat
    assert "".join(map(str, parts)) == str(whole)
    assert llm.info.architecture == "Qwen3ForCausalLM"
    assert llm.get_tokenizer().eos_token == "</s>"
    assert llm.get_default_sampling_params() == SamplingParams()


def test_many_that_come_and_go_leave_nothing(llm):
    async def one(at):
        patience = [0.0, 0.002, 0.01, 5, 5][at % 5]
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(llm.generate(some_prompts(1, seed=at)[0], GREEDY), patience)
        return None

    async def main():
        return await asyncio.gather(*map(one, range(60)))

    outputs = asyncio.run(main())
    assert all(outputs[at] is not None for at in range(60) if at % 5 > 2)
    check_quiet(llm)


def test_a_keyword_that_is_not_there_is_refused_with_a_suggestion(llm):
    with pytest.raises(UnknownArgument, match=r"stream does not know 'sampling_parms'.*'sampling_params'"):
        llm.stream("the", sampling_parms=GREEDY)
    with pytest.raises(UnknownArgument, match=r"chat does not know 'chat_templat'.*'chat_template'"):
        llm.stream_chat([{"role": "user", "content": "the"}], chat_templat="x")
    with pytest.raises(UnknownArgument, match=r"LLM does not know 'max_len'"):
        AsyncLLM("anything", max_len=3)
    with pytest.raises(UnknownArgument, match=r"chat does not know 'max_tokens'. Write sampling_params="):
        llm.stream_chat([{"role": "user", "content": "the"}], max_tokens=5)
    assert asyncio.run(llm.generate("the", GREEDY, lora_request=None)).finished


def test_type_checkers_know_the_same_settings_as_llm_takes():
    taken = {name: str(it.annotation) for name, it in inspect.signature(LLM).parameters.items()}
    assert taken.pop("model")
    assert {name: it.__forward_arg__ for name, it in Settings.__annotations__.items()} == taken


def test_the_repr_says_what_is_loaded_and_where(llm):
    assert repr(llm) == f"Async{llm._llm!r}"


def test_chat_takes_and_refuses_what_the_synchronous_one_does(folder):
    for llm in (LLM(folder), AsyncLLM(folder)):
        for call in (llm.chat, llm.stream_chat):
            with pytest.raises(UnknownArgument, match="chat_templat'"):
                call([], chat_templat="x")
            with pytest.raises(UnknownArgument, match="lora_request = 'x'"):
                call([], lora_request="x")
            with pytest.raises(UnknownArgument, match="missing a required argument"):
                call()
            refused = pytest.raises(InvalidRequest, match="messages must be")
            with refused:  # and not for the argument that asks for nothing
                result = call([], lora_request=None)
                asyncio.run(result)
