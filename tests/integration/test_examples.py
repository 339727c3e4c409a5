"""The examples do what their README says, bare and traced, with the stand-in and with an endpoint."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from textwrap import dedent
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


EXAMPLES = Path(__file__).parents[2] / "examples"
NOTICE = "no OPENAI_API_KEY: answers come from the local stand-in\n"
TRACED = """
import runpy, sys
from pathlib import Path
from pocketflow_otel.testing import capture_spans

sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
with capture_spans() as captured:
    runpy.run_path(sys.argv[0], run_name="__main__")
shown = ("node.action", "node.attempts", "node.fallback", "shared.added.keys", "shared.modified.keys")
print(captured.tree(*(f"pocketflow.{name}" for name in shown)), file=sys.stderr)
"""

QUESTION = "How much higher is Fuji than Ben Nevis?"
ENGLISH = "Good morning. The train leaves at nine.\n\nThank you."
TRANSLATED = """\
French: Bonjour. Le train part à neuf heures. Merci.
German: Guten Morgen. Der Zug fährt um neun Uhr. Danke.
Italian: Buongiorno. Il treno parte alle nove. Grazie.
Spanish: Buenos días. El tren sale a las nueve. Gracias.
"""


def run(program: str, *arguments: str, start: tuple[str, ...] = (), **environ: str) -> tuple[int, str, str]:
    """Run an example in a process of its own; return its exit code, stdout and stderr."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", *start, str(EXAMPLES / program), *arguments],
        env={**clean, "PYTHONUTF8": "1", **environ},
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def run_traced(program: str, *arguments: str) -> tuple[int, str, str]:
    """Run an example as a traced program does; stderr ends with its spans."""
    return run(program, *arguments, start=("-c", TRACED))


USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "cost": 0.003}
"""What each call of the endpoint below uses."""


class Endpoint(ThreadingTCPServer):
    """An OpenAI-compatible endpoint; `answers` makes an answer, or a status, of a prompt."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []
        self.answers: Callable[[str], str | int] = str.upper

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for _, _, body in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        answer = self.server.answers(body["messages"][0]["content"])
        self.send_response(answer if isinstance(answer, int) else 200)
        self.end_headers()
        completion = {"choices": [{"message": {"content": answer}}], "usage": USAGE}
        self.wfile.write(json.dumps(completion).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """Two files to summarise."""
    texts = {
        "flow.md": "# Flows\n\nA flow runs nodes. Nodes share a store.",
        "store.md": "A store is a dictionary that all nodes of a flow share. It is plain.",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [str(tmp_path / name) for name in texts]


SUMMARIES = """\
flow.md: 9 words (often nodes, flows, flow). A flow runs nodes.
store.md: 15 words (often store, dictionary, that). A store is a dictionary that all nodes of a flow share.
together: 24 words (often nodes, flow, share). A flow runs nodes.; A store is a dictionary ...
"""


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ((), "4806 - 2962 = 1844"),
        ((QUESTION,), "3776 - 1345 = 2431"),
        (("What", "is", "6 * 7.5 + 1?"), "6 * 7.5 + 1 = 46"),
        (("What is 1 / 0?",), "1 / 0 = not possible (division by zero)"),
        (("What do you know about Fuji?",), "Fuji is the highest mountain of Japan, 3776 m, a volcano."),
        (("how are you?",), "I do not know."),
    ],
)
def test_the_agent_answers_with_what_its_tools_found(question: tuple[str, ...], answer: str) -> None:
    assert run("qa_agent.py", *question) == (0, f"{answer}\n", NOTICE)


def test_texts_are_summarised_each_for_itself_and_together(texts: list[str]) -> None:
    assert run("map_reduce.py", *texts) == (0, SUMMARIES, NOTICE)


def test_a_text_is_translated_into_every_language() -> None:
    assert run("translate.py") == run("translate.py", ENGLISH) == (0, TRANSLATED, NOTICE)


def test_a_text_file_is_translated_like_a_text(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text(ENGLISH, encoding="utf-8")
    assert run("translate.py", str(tmp_path / "letter.txt")) == (0, TRANSLATED, NOTICE)


def test_a_text_too_long_for_a_path_is_translated() -> None:
    assert run("translate.py", "Thank you. " * 100)[1].startswith("French: Merci. Merci. Merci.")


def test_the_traced_agent_shows_its_loop() -> None:
    code, stdout, stderr = run_traced("qa_agent.py", QUESTION)
    assert (code, stdout) == (0, "3776 - 1345 = 2431\n")
    assert stderr == NOTICE + dedent("""\
        invoke_workflow qa_agent keys=('input', 'answer') keys=('notes',)
          invoke_node Decide action=search attempts=1 keys=('input',)
          invoke_node Search action=default attempts=1 keys=('notes',)
          invoke_node Decide action=search attempts=1 keys=('input',)
          invoke_node Search action=default attempts=1 keys=('notes',)
          invoke_node Decide action=calculate attempts=1 keys=('input',)
          invoke_node Calculate action=default attempts=1 keys=('notes',)
          invoke_node Decide action=answer attempts=1 keys=('input',)
          invoke_node Answer action=default attempts=2 keys=('answer',)
        """)


def test_a_traced_calculation_that_fails_shows_the_fallback() -> None:
    stderr = run_traced("qa_agent.py", "What is 1 / 0?")[2]
    assert "  invoke_node Calculate action=default attempts=1 fallback=True keys=('notes',)\n" in stderr


def test_the_traced_map_and_reduce_show_each_text_and_the_refused_attempts(texts: list[str]) -> None:
    code, stdout, stderr = run_traced("map_reduce.py", *texts)
    assert (code, stdout) == (0, SUMMARIES)
    assert stderr == NOTICE + dedent("""\
        invoke_workflow map_reduce keys=('texts', 'summaries', 'together')
          invoke_node ReadFiles action=default attempts=1 keys=('texts',)
          invoke_node Summarise action=default keys=('summaries',)
            batch_item attempts=2
            batch_item attempts=1
          invoke_node Combine action=default attempts=2 keys=('together',)
        """)


def test_the_traced_translation_shows_the_flow_inside_and_the_task_that_was_refused() -> None:
    code, stdout, stderr = run_traced("translate.py")
    assert (code, stdout) == (0, TRANSLATED)
    assert stderr == NOTICE + dedent("""\
        invoke_workflow translator keys=('text', 'tasks', 'translations')
          invoke_node Read action=default attempts=1 keys=('text',)
          invoke_workflow translation keys=('tasks', 'translations')
            invoke_node Split action=default attempts=1 keys=('tasks',)
            invoke_node Translate action=default keys=('translations',)
              batch_item attempts=1
              batch_item attempts=1
              batch_item attempts=1
              batch_item attempts=2
              batch_item attempts=1
              batch_item attempts=1
              batch_item attempts=1
              batch_item attempts=1
          invoke_node Show action=default attempts=1
        """)


def summary_of(program: str, *arguments: str, **environ: str) -> str:
    """Return how the run of an example ended, without the time it took."""
    run_ours = ("-c", "from pocketflow_otel.cli.main import main; main()", "run", "--summary")
    code, _, stderr = run(program, *arguments, start=run_ours, **environ)
    (ended,) = [line for line in stderr.splitlines() if line.startswith("ok  ")]
    assert code == 0
    return ended.partition(" · ")[2]


def test_the_trace_of_an_example_has_tokens_and_cost(tmp_path: Path, texts: list[str]) -> None:
    folder = {"POCKETFLOW_OTEL_DIR": str(tmp_path)}
    assert [
        summary_of("qa_agent.py", **folder),
        summary_of("map_reduce.py", *texts, **folder),
        summary_of("translate.py", **folder),
    ] == [
        "8 steps · 5 LLM calls · 609 tokens · cost $0.00011",
        "3 steps · 3 LLM calls · 102 tokens · cost $0.000029",
        "4 steps · 8 LLM calls · 152 tokens · cost $0.000045",
    ]


def test_the_trace_of_an_example_has_what_its_endpoint_says_of_usage(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    environ = {"OPENAI_BASE_URL": endpoint.url, "POCKETFLOW_OTEL_DIR": str(tmp_path)}
    ended = summary_of("translate.py", "Hello.", **environ)
    assert ended == "4 steps · 4 LLM calls · 4,800 tokens · cost $0.012"


def test_the_endpoint_of_the_environment_is_asked_as_openai_clients_do(endpoint: Endpoint) -> None:
    environ = {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": "key-1", "OPENAI_MODEL": "tiny"}
    code, stdout, stderr = run("translate.py", "Hello.", **environ)
    assert (code, stderr) == (0, "")
    languages = ("French", "German", "Italian", "Spanish")
    assert stdout == "".join(
        f"{language}: TRANSLATE INTO {language.upper()}:\n\nHELLO.\n" for language in languages
    )
    assert sorted(endpoint.requests, key=str) == [
        (
            "/v1/chat/completions",
            "Bearer key-1",
            {
                "model": "tiny",
                "messages": [{"role": "user", "content": f"Translate into {language}:\n\nHello."}],
            },
        )
        for language in languages
    ]


def test_without_a_key_none_is_sent_and_the_usual_model_is_asked(
    endpoint: Endpoint, texts: list[str]
) -> None:
    assert run("map_reduce.py", texts[0], OPENAI_BASE_URL=endpoint.url)[0] == 0
    sent = [(authorization, body["model"]) for _, authorization, body in endpoint.requests]
    assert sent == [(None, "gpt-4o-mini")] * 2


def test_the_agent_runs_nothing_but_arithmetic_for_a_model(endpoint: Endpoint, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    replies = iter(
        [
            json.dumps({"action": "calculate", "input": f"open({str(victim)!r}, 'w')"}),
            json.dumps({"action": "answer", "input": ""}),
            "So it goes.",
        ]
    )
    endpoint.answers = lambda prompt: next(replies)
    assert run("qa_agent.py", OPENAI_BASE_URL=endpoint.url) == (0, "So it goes.\n", "")
    assert "not possible (cannot calculate open(" in endpoint.prompts[-1]
    assert not victim.exists()


def test_an_agent_that_never_decides_to_answer_is_made_to(endpoint: Endpoint) -> None:
    search = json.dumps({"action": "search", "input": "Atlantis"})
    endpoint.answers = lambda prompt: search if prompt.startswith("You answer") else "Nobody knows."
    assert run("qa_agent.py", OPENAI_BASE_URL=endpoint.url) == (0, "Nobody knows.\n", "")
    assert len(endpoint.prompts) == 7


def test_an_action_the_agent_does_not_know_is_asked_for_again(endpoint: Endpoint) -> None:
    replies = iter(['{"action": "dance", "input": ""}', '{"action": "answer", "input": ""}', "Done."])
    endpoint.answers = lambda prompt: next(replies)
    assert run("qa_agent.py", OPENAI_BASE_URL=endpoint.url) == (0, "Done.\n", "")


def test_an_endpoint_that_stays_too_busy_is_given_up_after_three_attempts(
    endpoint: Endpoint, texts: list[str]
) -> None:
    endpoint.answers = lambda prompt: 429
    code, stdout, stderr = run("map_reduce.py", *texts, OPENAI_BASE_URL=endpoint.url)
    assert (code, stdout, len(endpoint.requests)) == (1, "", 3)
    assert stderr.endswith("\nurllib.error.HTTPError: HTTP Error 429: Too Many Requests\n")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The stand-in's base URL."""
    monkeypatch.syspath_prepend(EXAMPLES)
    module = importlib.import_module("stand_in")
    monkeypatch.delitem(sys.modules, "stand_in")
    with module.StandIn() as server:
        yield server.start()
        server.shutdown()


def ask(url: str, prompt: str) -> dict[str, Any]:
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": prompt}]}).encode()
    with build_opener(ProxyHandler({})).open(Request(f"{url}/chat/completions", body), timeout=10) as answer:
        return json.load(answer)


def test_the_stand_in_answers_as_openrouter_does_with_the_usage_and_its_cost(stand_in: str) -> None:
    assert ask(stand_in, "Translate into French:\n\nThank you.") == {
        "id": "chatcmpl-030ec03f",
        "object": "chat.completion",
        "model": "any",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Merci."}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "cost": 2.55e-06},
    }


def test_the_stand_in_is_too_busy_for_a_prompt_only_once(stand_in: str) -> None:
    prompt = "Translate into German:\n\nThank you."
    with pytest.raises(HTTPError, match="429") as refused:
        ask(stand_in, prompt)
    refused.value.close()
    assert ask(stand_in, prompt)["choices"][0]["message"]["content"] == "Danke."
