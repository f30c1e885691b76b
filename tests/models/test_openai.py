"""The openai model against a real HTTP server: every fault a server can answer with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest

from forager.errors import ContextOverflow, ModelError, UnfitError, UsageError
from forager.models.openai import OpenAIModel
from forager.models.pace import Pace
from forager.models.prices import Prices
from forager.models.server import Retries, Server, split_base_url
from forager.records import Message, Reply, Tokens, Usage
from tests.support.openai_script import Answer, Script, fault, reply
from tests.support.openai_server import OpenAIServer

MESSAGES: list[Message] = [
    {"role": "system", "content": "You repair software."},
    {"role": "user", "content": "Problem statement: it is broken."},
]
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}]
FAST = Retries(
    attempts=4,
    first_wait=0.002,
    longest_wait=0.01,
    unreachable_attempts=3,
    busy_seconds=5.0,
    busy_first_gap=0.002,
    busy_longest_gap=0.02,
    busy_recovery=0.2,
)
KEY = "sk-secret-0123456789"


@pytest.fixture
def http() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@asynccontextmanager
async def opened(
    base_url: str, *, timeout: float = 5.0, retries: Retries = FAST, **asked: Any
) -> AsyncIterator[OpenAIModel]:
    async with Server("some-model", base_url, timeout=timeout, retries=retries) as server:
        yield OpenAIModel(server, **asked)


async def ask(http: OpenAIServer, messages: list[Message] = MESSAGES, **asked: Any) -> Reply:
    async with opened(http.base_url, **asked) as model:
        return await model.complete(messages, TOOLS)


def answering(*answers: Answer) -> Any:
    """One answer after the other, then proper replies."""
    return lambda request: (
        answers[request.number] if request.number < len(answers) else reply({"text": "ok"}, request)
    )


# ------------------------------------------------------------------------------------------- what is sent


async def test_the_conversation_and_every_parameter_reach_the_server_as_they_are(http: OpenAIServer) -> None:
    await ask(http, sampling={"temperature": 0.7, "seed": 3, "stop": ["x"]}, extra_body={"top_k": 20})
    request = http.requests[-1]
    assert request.body == {
        "model": "some-model",
        "messages": MESSAGES,
        "tools": TOOLS,
        "temperature": 0.7,
        "seed": 3,
        "stop": ["x"],
        "top_k": 20,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


async def test_without_tools_the_request_has_no_tools_key(http: OpenAIServer) -> None:
    async with opened(http.base_url) as model:
        await model.complete(MESSAGES, [])
    assert "tools" not in http.requests[-1].body


def test_parameters_that_are_foragers_to_set_are_refused() -> None:
    with pytest.raises(UsageError, match="'stream' is set by Forager"):
        OpenAIModel(Server("m", "http://127.0.0.1:1"), extra_body={"stream": True})


def test_the_record_of_the_model_names_its_parameters_and_no_secret() -> None:
    model = OpenAIModel(Server("m", "http://127.0.0.1:1"), sampling={"seed": 1}, extra_body={"top_k": 2})
    assert model.ref.sampling == {"seed": 1, "extra_body": {"top_k": 2}}
    assert (model.ref.name, model.ref.provider, model.ref.protocol) == ("m", "openai", "tools")
    assert KEY not in repr(model.ref) + repr(vars(model)["_server"])


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_is_kept_and_sent_back_under_the_servers_own_name(http: OpenAIServer, name: str) -> None:
    http.answer = lambda request: reply({"bash": "ls", "message": {name: "Let me look."}}, request)
    async with opened(http.base_url) as model:
        first = await model.complete(MESSAGES, TOOLS)
        assert first.message["reasoning_content"] == "Let me look."
        result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "[exit code 0]"}
        await model.complete([*MESSAGES, first.message, result], TOOLS)
    sent = http.requests[-1].body["messages"][2]
    assert sent[name] == "Let me look." and len({"reasoning", "reasoning_content"} & sent.keys()) == 1


# -------------------------------------------------------------------------------------- what is understood


async def test_a_tool_call_comes_back_with_its_usage_and_cost(http: OpenAIServer) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 600},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    http.answer = Script(turns=[{"bash": "ls", "usage": usage}])
    answer = await ask(http, prices=Prices(prompt=1.0, completion=10.0, cached=0.1))
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("bash", '{"command": "ls"}')]
    assert answer.usage == Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=600, reasoning_tokens=40)
    assert answer.cost == pytest.approx((400 * 1.0 + 600 * 0.1 + 100 * 10.0) / 1e6)
    assert answer.finish_reason == "tool_calls" and answer.seconds > 0


async def test_unknown_prices_give_an_unknown_cost(http: OpenAIServer) -> None:
    assert (await ask(http)).cost is None


async def test_a_server_that_reports_no_usage_is_noted_once_and_its_cost_unknown(
    http: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    http.answer = lambda request: reply({"text": "hello", "usage": None}, request)
    async with opened(http.base_url, prices=Prices(prompt=1, completion=1)) as model:
        for _ in range(3):
            answer = await model.complete(MESSAGES, [])
    assert answer.usage == Usage() and answer.cost is None
    assert [record.levelno for record in caplog.records if "no token usage" in record.message] == [logging.WARNING]


async def test_missing_doubled_and_reused_tool_call_ids_are_repaired_the_same_way_each_time(
    http: OpenAIServer,
) -> None:
    calls = [
        {"type": "function", "id": identifier, "function": {"name": "bash", "arguments": "{}"}}
        for identifier in ("a", "a", None, "", "old")
    ]
    http.answer = lambda request: reply({"message": {"tool_calls": calls}}, request)
    old = {"id": "old", "type": "function", "function": {"name": "bash", "arguments": "{}"}}
    conversation = [*MESSAGES, {"role": "assistant", "content": "", "tool_calls": [old]}]
    first, second = await ask(http, conversation), await ask(http, conversation)
    assert [call.id for call in first.tool_calls] == ["a", "call_3_1", "call_3_2", "call_3_3", "call_3_4"]
    assert first.message == second.message


async def test_arguments_sent_as_an_object_become_a_string_and_foreign_keys_are_left_out(http: OpenAIServer) -> None:
    call = {"index": 0, "function": {"name": "bash", "arguments": {"command": "ls"}}}
    message = {"content": [{"type": "text", "text": "Hm."}], "tool_calls": [call], "annotations": [], "audio": None}
    http.answer = lambda request: reply({"message": message}, request)
    answer = await ask(http)
    function = {"name": "bash", "arguments": '{"command":"ls"}'}
    assert answer.message == {
        "role": "assistant",
        "content": "Hm.",
        "tool_calls": [{"id": "call_2_0", "type": "function", "function": function}],
    }


@pytest.mark.parametrize("name", ["bad-arguments", "unknown-tool", "two-calls", "no-call"])
async def test_the_models_own_mistakes_are_the_loops_to_answer_and_cost_no_retry(
    http: OpenAIServer, name: str
) -> None:
    http.answer = Script(faults=[{"fault": name, "first": 1}])
    answer = await ask(http)
    expected = {
        "bad-arguments": [("bash", '{"command": "ls')],
        "unknown-tool": [("python", '{"code": "1"}')],
        "two-calls": [("bash", '{"command": "echo one"}'), ("bash", '{"command": "echo two"}')],
        "no-call": [],
    }
    assert [(call.name, call.arguments) for call in answer.tool_calls] == expected[name]
    assert http.count == 1


async def test_token_ids_and_log_probabilities_are_kept_for_trainers(http: OpenAIServer) -> None:
    logprobs = {"content": [{"token": "h", "logprob": -0.5}, {"token": "i", "logprob": -0.25}]}
    turn = {
        "text": "hi",
        "top": {"prompt_token_ids": [1, 2, 3]},
        "extra": {"token_ids": [7, 8], "logprobs": logprobs},
    }
    http.answer = Script(turns=[turn])
    answer = await ask(http, extra_body={"return_token_ids": True})
    assert answer.tokens == Tokens(prompt_ids=(1, 2, 3), completion_ids=(7, 8), logprobs=(-0.5, -0.25))


async def test_token_ids_that_do_not_fit_their_log_probabilities_are_left_out_and_noted(
    http: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    logprobs = {"content": [{"token": "h", "logprob": -0.5}]}
    http.answer = Script(turns=[{"text": "hi", "extra": {"token_ids": [7, 8], "logprobs": logprobs}}])
    assert (await ask(http)).tokens is None
    assert "differ in number" in caplog.text


async def test_a_model_that_chose_to_say_nothing_is_taken_at_its_word(http: OpenAIServer) -> None:
    http.answer = Script(turns=[{"text": "", "usage": {"prompt_tokens": 9, "completion_tokens": 1}}])
    assert (await ask(http)).message == {"role": "assistant", "content": ""}
    assert http.count == 1


# ------------------------------------------------------------------------------ faults that go away by themselves


@pytest.mark.parametrize(
    "name",
    ["500", "502", "503", "529", "408", "drop", "drop-body", "empty", "malformed", "wrong-shape", "no-choices"],
)
async def test_a_passing_fault_is_tried_again(http: OpenAIServer, name: str) -> None:
    http.answer = answering(fault(name), fault(name))
    assert (await ask(http)).message["content"] == "ok"
    assert http.count == 3


async def test_an_empty_message_without_tokens_is_tried_again(http: OpenAIServer) -> None:
    http.answer = Script(turns=[{"text": "", "usage": {"prompt_tokens": 9, "completion_tokens": 0}}])
    with pytest.raises(ModelError, match="empty"):
        await ask(http)
    assert http.count == FAST.attempts


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("500", "answered 500: scripted 500"),
        ("drop", "disconnected"),
        ("malformed", "malformed"),
        ("no-choices", "no choices"),
    ],
)
async def test_a_fault_that_stays_is_a_model_error_after_the_last_try(
    http: OpenAIServer, name: str, said: str
) -> None:
    http.answer = lambda request: fault(name)
    with pytest.raises(ModelError, match=said) as error:
        await ask(http)
    assert http.count == FAST.attempts
    assert f"tries: {FAST.attempts}" in str(error.value) and "\n" not in str(error.value)


async def test_a_slow_reply_is_waited_for_and_a_missing_one_is_asked_for_again(http: OpenAIServer) -> None:
    http.answer = Script(delay=0.1)
    assert (await ask(http, timeout=1.0)).seconds >= 0.1
    http.answer = lambda request: fault("silent")
    with pytest.raises(ModelError, match=r"no reply within 0\.3 s \(tries: 2"):
        await ask(http, timeout=0.3, retries=Retries(attempts=2, first_wait=0.001))


async def test_failing_requests_are_bounded_by_seconds_too(http: OpenAIServer) -> None:
    http.answer = lambda request: fault("silent")
    with pytest.raises(ModelError, match="tries: 2"):
        await ask(http, timeout=0.3, retries=Retries(attempts=99, seconds=0.5, first_wait=0.001, longest_wait=0.001))


async def test_an_error_inside_a_reply_with_status_200_is_read_as_the_error_it_is(http: OpenAIServer) -> None:
    http.answer = answering(
        Answer(b'{"error": {"code": 502, "message": "Provider returned error"}}'),
        Answer(b'{"error": {"code": 429, "message": "slow down"}}'),
    )
    assert (await ask(http)).message["content"] == "ok"
    http.answer = lambda request: Answer(b'{"error": {"code": 400, "message": "bad tool schema"}}')
    with pytest.raises(ModelError, match="bad tool schema"):
        await ask(http)
    assert http.count == 4


async def test_cancelling_ends_a_call_at_once(http: OpenAIServer) -> None:
    http.answer = lambda request: fault("silent")
    async with opened(http.base_url, timeout=1000.0) as model:
        call = asyncio.create_task(model.complete(MESSAGES, TOOLS))
        await asyncio.to_thread(http.wait_for, lambda: http.count == 1)
        call.cancel()
        async with asyncio.timeout(60):
            with pytest.raises(asyncio.CancelledError):
                await call


# ----------------------------------------------------------------------------------- 429: waiting, not failing


@pytest.mark.parametrize(("name", "seconds"), [("429", 0.15), ("503", 0.15), ("429-date", 1.0)])
async def test_retry_after_is_honoured_in_seconds_and_as_a_date(
    http: OpenAIServer, name: str, seconds: float
) -> None:
    http.answer = answering(fault(name, retry_after=seconds))
    assert (await ask(http)).message["content"] == "ok"
    first, second = (request.arrived for request in http.requests)
    # A date has whole seconds, so up to one of them is lost on the way.
    assert second - first >= (seconds if name != "429-date" else 0.0)
    assert http.count == 2


async def test_one_retry_after_pauses_every_attempt(http: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    http.answer = answering(fault("429", retry_after=0.3))
    async with opened(http.base_url) as model:
        pace, heard = model._server.pace, asyncio.Event()

        def refused(started: float, retry_after: float | None) -> None:
            Pace.refused(pace, started, retry_after)
            heard.set()

        monkeypatch.setattr(pace, "refused", refused)
        first = asyncio.create_task(model.complete(MESSAGES, TOOLS))
        await heard.wait()
        await asyncio.gather(first, *(model.complete(MESSAGES, TOOLS) for _ in range(20)))
    told, *others = (request.arrived for request in http.requests)
    assert len(others) == 21 and min(others) - told >= 0.3


async def test_a_storm_of_429_loses_no_attempt(http: OpenAIServer) -> None:
    http.answer = Script(requests_per_second=200, faults=[{"fault": "429", "until": 0.4}])
    async with opened(http.base_url) as model:
        replies = await asyncio.gather(*(model.complete(MESSAGES, TOOLS) for _ in range(64)))
    assert len(replies) == 64 and http.statuses[200] == 64
    # Everybody waits in one line: the server is not stormed while it refuses.
    assert http.statuses[429] < 64 + 100


async def test_a_server_that_refuses_everybody_for_good_is_given_up(http: OpenAIServer) -> None:
    http.answer = lambda request: fault("429")
    patience = Retries(busy_first_gap=0.005, busy_seconds=0.2, busy_longest_gap=0.02)
    async with opened(http.base_url, retries=patience) as model:
        calls = [model.complete(MESSAGES, TOOLS) for _ in range(16)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(failure, ModelError) and "429" in str(failure) for failure in failures)


async def test_a_pause_longer_than_the_patience_is_not_sat_out(http: OpenAIServer) -> None:
    http.answer = lambda request: fault("429", retry_after=3600)
    async with asyncio.timeout(60):
        with pytest.raises(ModelError, match="refusing requests"):
            await ask(http)


async def test_an_account_without_credit_stops_the_run(http: OpenAIServer) -> None:
    http.answer = lambda request: fault("429", code="insufficient_quota")
    with pytest.raises(UnfitError, match="no credit left"):
        await ask(http)
    assert http.count == 1


# ------------------------------------------------------------------------ what would hit every attempt: UnfitError


@pytest.mark.parametrize("name", ["401", "403"])
async def test_a_wrong_key_stops_the_run_and_is_never_shown(http: OpenAIServer, name: str) -> None:
    http.answer = lambda request: fault(name, message=f"Incorrect API key provided: {KEY}")
    with pytest.raises(UnfitError, match=r"refused the API key in \$OPENAI_API_KEY for model 'some-model'") as error:
        await ask(http)
    assert http.count == 1 and KEY not in str(error.value) and "\n" not in str(error.value)


async def test_a_server_that_wants_a_key_says_which_variable_to_set(
    http: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    http.answer = Script(key="right")
    with pytest.raises(UnfitError, match=r"wants an API key \(401\): set \$OPENAI_API_KEY"):
        await ask(http)


async def test_a_wrong_model_name_and_a_wrong_base_url_are_named(http: OpenAIServer) -> None:
    http.answer = Script(model="another-model")
    with pytest.raises(UnfitError, match=r"no model 'some-model' at http://127\.0\.0\.1.*does not exist"):
        await ask(http)
    with pytest.raises(UnfitError, match="check --model and --base-url"):
        async with opened(http.base_url.removesuffix("/v1") + "/wrong") as model:
            await model.complete(MESSAGES, TOOLS)
    http.answer = lambda request: fault("web-page")
    with pytest.raises(UnfitError, match="is no model server"):
        await ask(http)


async def test_nothing_listening_at_the_base_url_stops_the_run_soon() -> None:
    with OpenAIServer() as gone:
        pass
    with pytest.raises(UnfitError, match=rf"no model server answers at {gone.base_url} .*check --base-url"):
        await ask(gone)


async def test_a_server_that_goes_away_later_fails_the_attempt_only() -> None:
    with ExitStack() as stack:
        leaving = stack.enter_context(OpenAIServer())
        async with opened(leaving.base_url) as model:
            await model.complete(MESSAGES, TOOLS)
            stack.close()
            with pytest.raises(ModelError):
                await model.complete(MESSAGES, TOOLS)


def test_the_public_server_without_a_key_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    with pytest.raises(UnfitError, match=r"no API key for model 'm': set \$OPENAI_API_KEY"):
        Server("m")
    monkeypatch.setenv("OPENAI_API_KEY", "key\nwith a line break")
    with pytest.raises(UnfitError, match="characters that no API key has"):
        Server("m")


async def test_a_server_of_ones_own_needs_no_key(http: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    await ask(http)
    assert http.requests[-1].headers["authorization"] == "Bearer none"


async def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    http: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    await ask(http)
    assert http.count == 1


# ----------------------------------------------------------------------------------- what fails this attempt only


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ("400", "This model's maximum context length is 8192 tokens. However, your messages ...", None),
        ("400", "anything", "context_length_exceeded"),  # OpenAI
        ("400", "The decoder prompt (length 5000) is longer than the maximum model length of 4096.", None),  # vLLM
        ("400", "max_tokens must be at least 1, got -186.", None),  # vLLM
        ("400", "The input (61709 tokens) is longer than the model's context length (40960 tokens).", None),  # SGLang
        ("400", "Requested token count exceeds the model's maximum context length of 4096 tokens.", None),  # SGLang
        ("400", "the request exceeds the available context size, try increasing it", None),  # llama.cpp
        ("500", "the request exceeds the available context size. try increasing the context size", None),
        ("400", "Requested tokens (2285) exceed context window of 2048", None),  # llama-cpp-python
        ("400", "prompt is too long: 210000 tokens > 200000 maximum", None),  # Anthropic
        ("400", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", None),
        ("400", "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", None),
    ],
)
async def test_a_prompt_that_does_not_fit_is_told_in_many_wordings(
    http: OpenAIServer, status: str, message: str, code: str | None
) -> None:
    http.answer = lambda request: fault(status, message=message, code=code)
    with pytest.raises(ContextOverflow, match="context window"):
        await ask(http)
    assert http.count == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fault("400", message="Unsupported parameter: 'foo'"), r"refused the request \(400\): Unsupported parameter"),
        (fault("422", message="temperature: must be below 2"), r"\(422\): temperature: must be below 2"),
        (Answer(b'{"object":"error","message":"max_tokens: too big","code":400}', status=400), "max_tokens: too big"),
        (Answer(b'{"detail":[{"loc":["body"],"msg":"missing"}]}', status=422), "missing"),
        (Answer(b"plain words\nin lines", status=400), "plain words in lines"),
        (
            fault("400", message="triggered Azure's content management policy", code="content_filter"),
            "content filter",
        ),
        (fault("403", message="Input was flagged by moderation"), "content filter"),
    ],
)
async def test_a_refused_request_is_a_model_error_without_a_retry(
    http: OpenAIServer, answer: Answer, said: str
) -> None:
    http.answer = lambda request: answer
    with pytest.raises(ModelError, match=said) as error:
        await ask(http)
    assert http.count == 1 and "\n" not in str(error.value)


async def test_a_conversation_that_is_not_unicode_is_a_model_error(http: OpenAIServer) -> None:
    with pytest.raises(ModelError, match="cannot be sent as UTF-8"):
        await ask(http, [{"role": "user", "content": "\ud800"}])


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"garbage", headers={"content-encoding": "gzip"}),
        Answer(b"[]"),
        Answer(b"\xff\xfe", headers={"content-type": "text/plain; charset=none"}),
        Answer(b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
        Answer(b"", status=302, headers={"location": "::"}),
    ],
)
async def test_rubbish_of_any_kind_is_a_model_error_after_the_last_try(http: OpenAIServer, answer: Answer) -> None:
    http.answer = lambda request: answer
    with pytest.raises(ModelError, match=f"tries: {FAST.attempts}"):
        await ask(http)


async def test_a_reply_cut_off_by_the_content_filter_is_a_model_error(http: OpenAIServer) -> None:
    http.answer = Script(faults=[{"fault": "content-filter", "first": 1}])
    with pytest.raises(ModelError, match="content filter cut the reply off"):
        await ask(http)
    assert http.count == 1


@pytest.mark.parametrize("status", ["400", "404", "500"])
async def test_a_key_that_the_server_repeats_is_not_passed_on(http: OpenAIServer, status: str) -> None:
    http.answer = lambda request: fault(status, message=f"key {KEY} " + "x" * 280 + KEY)
    with pytest.raises((ModelError, UnfitError), match="secret") as error:
        await ask(http)
    assert KEY[:12] not in str(error.value)


# ------------------------------------------------------------------------------------------------------ base URLs


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        (" https://example.org/api/v1 ", "https://example.org/api/v1"),
        ("https://example.org/v1/chat/completions", "https://example.org/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_base_urls_have_one_normal_form(given: str, normal: str) -> None:
    assert split_base_url(given).geturl() == normal


@pytest.mark.parametrize(
    "wrong", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http://a b", "x"]
)
def test_what_is_no_base_url_is_a_usage_error(wrong: str) -> None:
    with pytest.raises(UsageError, match="is no URL: write it as http://HOST:PORT/v1"):
        split_base_url(wrong)


async def test_a_base_url_without_v1_reaches_the_server_and_its_query_goes_along(http: OpenAIServer) -> None:
    async with opened(http.base_url.removesuffix("/v1") + "/?api-version=7") as model:
        await model.complete(MESSAGES, TOOLS)
    assert http.count == 1
    assert "api-version" not in repr(model._server)
