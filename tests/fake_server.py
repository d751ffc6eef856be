"""A real HTTP server on this machine that speaks OpenAI's chat completions, with replies that a test defines.

`FakeServer(answer)` listens on a free port.  `answer(number, body)` returns the reply to request number `number` (from
1) for a chat completion: a dict (200), `(status, dict or text)`, `(status, dict or text, headers)`, or DROPPED or
HALF, for a connection that ends before or within its answer.  What real servers answer is in server_faults.py.
`vllm_like(engine)` is an `answer` that generates with an engine of this package.
"""

import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from agentark import params
from agentark.engines import EngineError, Sampling

MODEL = "fake/model"
DROPPED, HALF = "dropped", "half"


class FakeServer:
    """The server, as a context manager.

    `owner` is the model's owner in /models: "vllm" has vLLM's features.  `models` is the whole reply to that request.
    `certificate` is a PEM file with a key, for https.  `redirect(path)` may return the (status, location) of another.
    """

    def __init__(
        self, answer, owner="somebody", model=MODEL, models=None, port=0, certificate=None, redirect=lambda path: None
    ):
        self.answer, self.requests, self.starts, self.most, self._now = answer, [], [], 0, 0
        self.models = (
            models
            if models is not None
            else (200, {"object": "list", "data": [{"id": model, "object": "model", "owned_by": owner}]})
        )
        self._lock = threading.Lock()
        self.release = threading.Event()  # ends requests that hang
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self._send(
                    self._redirected()
                    or (outer.models if self.path == "/v1/models" else (404, {"error": {"message": "no such page"}}))
                )

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if elsewhere := self._redirected():
                    self._send(elsewhere)
                    return
                with outer._lock:
                    outer.requests.append((dict(self.headers), body))
                    number = len(outer.requests)
                    outer._now += 1
                    outer.most = max(outer.most, outer._now)
                try:
                    self._send(outer.answer(number, body))
                finally:
                    with outer._lock:
                        outer._now -= 1

            def _redirected(self):
                found = redirect(self.path)
                return found and (found[0], "", {"Location": found[1]})

            def _send(self, reply):
                if isinstance(reply, str):
                    if reply == HALF:
                        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b'{"choices": [')
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, body, headers = {dict: lambda: (200, reply, {}), tuple: lambda: (*reply, {})[:3]}[type(reply)]()
                data = (json.dumps(body) if isinstance(body, dict) else body).encode()
                try:
                    self.send_response(status)
                    for name, value in {
                        "Content-Type": "application/json",
                        "Content-Length": str(len(data)),
                        **headers,
                    }.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client has given up

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", port), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' * bool(certificate)}://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()

    def config(self, **changes):
        """Params of an engine that uses this server."""
        return params.Engine(
            **{"name": "openai", "base_url": self.url, "concurrency": 4, "timeout_s": 30.0, "retries": 2, **changes}
        )


def completion(text, finish="stop", tokens_in=7, tokens_out=3, cached=None, **more):
    """The body of a chat completion."""
    return {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish, **more}],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            **({} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}),
        },
    }


def error_reply(status, message, **headers):
    """An error in the format of OpenAI's servers."""
    return (
        status,
        {"error": {"message": message, "type": "error"}},
        {name.replace("_", "-"): value for name, value in headers.items()},
    )


def vllm_like(engine, block=16):
    """An `answer` that serves an engine like vLLM.

    It refuses long prompts and has vLLM's fields; a prefix cache of whole blocks is only counted.
    """
    lock, served = threading.Lock(), []

    def answer(_, body):
        chat, choices = body["messages"], (body.get("structured_outputs") or {}).get("choice")
        assert (
            body.get("continue_final_message", False)
            == (chat[-1]["role"] == "assistant")
            != body.get("add_generation_prompt", True)
        )
        sampling = Sampling(
            body["temperature"],
            body["max_tokens"],
            body.get("top_p", 1.0),
            bool(body.get("logprobs")),
            tuple(choices) if choices else None,
        )
        with lock:
            try:
                [reply] = engine.generate([chat], sampling, body.get("seed", 0))
            except EngineError as error:
                return error_reply(400, f"This model's maximum context length is {engine.context} tokens. {error}")
            prompt = engine.tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
            shared = max(
                (
                    next((k for k, (a, b) in enumerate(zip(prompt, other)) if a != b), min(len(prompt), len(other)))
                    for other in served
                ),
                default=0,
            )
            served.append(prompt)
        steps = {"content": [{"token": "", "logprob": x} for x in reply.logprobs]} if reply.logprobs else None
        return completion(
            reply.text,
            reply.finish,
            reply.tokens_in,
            reply.tokens_out,
            shared // block * block,
            token_ids=list(reply.token_ids),
            logprobs=steps,
        )

    return answer
