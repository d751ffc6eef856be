"""What real servers answer when something is wrong, as reported in their issues, for tests/fake_server.py.

Each reply is what a server gives instead of a completion: (status, body) or (status, body, headers).
"""

import json

from fake_server import DROPPED, HALF, completion


def page(status, words):
    """An error page of Cloudflare or nginx."""
    return status, f"<!DOCTYPE html><html><head><title>{status}: {words}</title></head><body>Ray ID: 8f1</body></html>"


# Another try gets a completion.
PASSING = {
    "OpenAI's rate limit": (
        429,
        {"error": {"message": "Rate limit reached for gpt-4o-mini on requests per min (RPM): Limit 3, Used 3. Please "
                              "try again in 20s.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
        {"Retry-After": "0"},
    ),
    "Azure's rate limit": (
        429,
        {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation have exceeded call "
                                             "rate limit of your current pricing tier. Please retry after 1 second."}},
        {"Retry-After-Ms": "10"},
    ),
    "TGI is overloaded": (429, {"error": "Model is overloaded", "error_type": "overloaded"}),
    "TGI's generation failed": (424, {"error": "Request failed during generation: Server error: CUDA out of memory.",
                                      "error_type": "generation"}),
    "OpenAI's server error": (
        500,
        {"error": {"message": "The server had an error while processing your request. Sorry about that!",
                   "type": "server_error", "param": None, "code": None}},
    ),
    "nginx before a server that restarts": page(502, "Bad Gateway"),
    "llama.cpp loads its model": (503, {"error": {"code": 503, "message": "Loading model",
                                                  "type": "unavailable_error"}}),
    "the hub loads a model": (503, {"error": "Model google/gemma-7b-it is currently loading", "estimated_time": 20.0}),
    "Gemini is overloaded": (
        503,
        json.dumps([{"error": {"code": 503, "message": "The model is overloaded. Please try again later.",
                               "status": "UNAVAILABLE"}}]),
    ),
    "a gateway's timeout": page(504, "Gateway Time-out"),
    **{f"Cloudflare's {status}": page(status, words) for status, words in (
        (520, "Web server is returning an unknown error"), (521, "Web server is down"),
        (522, "Connection timed out"), (523, "Origin is unreachable"), (524, "A timeout occurred"),
        (525, "SSL handshake failed"), (526, "Invalid SSL certificate"), (527, "Railgun Listener to origin error"),
        (530, "Origin DNS error"))},
    "Anthropic is overloaded": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "a request timeout": (408, {"error": {"message": "Request timed out", "type": "timeout"}}),
    "OpenRouter's error in a body": (
        200,
        {"error": {"message": "Provider returned error", "code": 429,
                   "metadata": {"raw": "z-ai/glm-4.5 is temporarily rate-limited upstream.", "provider_name": "X"}},
         "user_id": "user_2"},
    ),
    "OpenRouter's error beside an empty choice": (
        200,
        {**completion(None), "error": {"message": "Provider returned error", "code": 429,
                                       "metadata": {"raw": "error code: 1015", "provider_name": "Kluster"}}},
    ),
    "OpenRouter's error within a choice": (
        200,
        completion("gets 3+", "error", error={"code": 502, "message": "Upstream idle timeout exceeded"}),
    ),
    "an error without a code": (200, {"error": "upstream connect error or disconnect/reset before headers"}),
    "vLLM's aborted request": (200, completion("gets 3+", "abort")),
    "DeepSeek's interruption": (200, completion("gets 3+", "insufficient_system_resource")),
    "9router's null choices": (200, {"id": None, "choices": None, "created": None, "model": None, "object": None}),
    "no choices": (200, {**completion(""), "choices": []}),
    "a choice without a message": (200, {"choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}),
    "an empty object": (200, {}),
    "an empty body": (200, ""),
    "null": (200, "null"),
    "a page instead of JSON": page(200, "starting"),
    "half of the JSON": (200, '{"choices": [{"index": 0, "mess'),
    "a dropped connection": DROPPED,
    "a connection dropped within the answer": HALF,
}  # fmt: skip

# A parameter that the server refuses, by whom: (parameter, reply).
REFUSED = {
    "OpenAI, max_tokens": ("max_tokens", (
        400,
        {"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                              "'max_completion_tokens' instead.", "type": "invalid_request_error",
                   "param": "max_tokens", "code": "unsupported_parameter"}},
    )),
    "Copilot, max_tokens": ("max_tokens", (
        400,
        {"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                              "'max_completion_tokens' instead.", "code": "invalid_request_body"}},
    )),
    "OpenAI, temperature": ("temperature", (
        400,
        {"error": {"message": "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default "
                              "(1) value is supported.", "type": "invalid_request_error", "param": "temperature",
                   "code": "unsupported_value"}},
    )),
    "Anthropic, temperature": ("temperature", (
        400,
        {"error": {"message": "`temperature` is deprecated for this model.", "type": "invalid_request_error"}},
    )),
    "Anthropic, top_p": ("top_p", (
        400,
        {"error": {"message": "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
                   "type": "invalid_request_error"}},
    )),
    "xAI, top_p": ("top_p", (
        400, {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: topP"},
    )),
    "OpenAI, seed": ("seed", (
        400,
        {"error": {"message": "Unrecognized request argument supplied: seed", "type": "invalid_request_error",
                   "param": None, "code": None}},
    )),
    "Mistral, seed": ("seed", (
        422,
        {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "input": 17,
                                                    "msg": "Extra inputs are not permitted"}]},
         "type": "invalid_request_error", "param": None, "code": None},
    )),
    "Gemini, seed": ("seed", (
        400,
        json.dumps([{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed": Cannot '
                                                       "find field.", "status": "INVALID_ARGUMENT"}}]),
    )),
    "Groq, seed": ("seed", (
        400, {"error": {"message": "property 'seed' is unsupported", "type": "invalid_request_error"}},
    )),
    "OpenAI, logprobs": ("logprobs", (
        403,
        {"error": {"message": "You are not allowed to request logprobs from this model", "param": None,
                   "type": "invalid_request_error", "code": None}},
    )),
    "vLLM of 2023, logprobs": ("logprobs", (
        400,
        {"object": "error", "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'logprobs'), 'msg': 'Extra inputs "
                                       "are not permitted', 'input': True}]", "type": "BadRequestError", "param": None,
         "code": 400},
    )),
    "litellm, logprobs": ("logprobs", (
        400,
        {"error": {"message": "litellm.UnsupportedParamsError: ollama_chat does not support parameters: ['logprobs'], "
                              "for model=llama3.1:70b. To drop these, set `litellm.drop_params=True`", "type": "None",
                   "param": "None", "code": "400"}},
    )),
    "an error in a body, seed": ("seed", (
        200, {"error": {"message": "Unrecognized request argument supplied: seed", "code": 400}},
    )),
}  # fmt: skip

NO_SCHEMA = {
    "LM Studio": (400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}),
    "DeepSeek": (400, {"error": {"message": "This response_format type is unavailable now",
                                 "type": "invalid_request_error", "param": None, "code": "invalid_request_error"}}),
    "llama.cpp": (400, {"error": {"code": 400, "message": "Failed to initialize samplers: failed to parse grammar",
                                  "type": "invalid_request_error"}}),
    "a server with errors for everything": (500, {"error": "JSON schema conversion failed"}),
    "litellm": (400, {"error": {"message": "litellm.UnsupportedParamsError: ollama does not support parameters: "
                                           "{'response_format': {'type': 'json_schema'}}", "code": "400"}}),
}  # fmt: skip

# A prompt that the server does not answer because of its content.
FILTERED = {
    "Azure": (400, {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                                         "management policy.", "type": None, "param": "prompt", "code": "content_filter",
                              "status": 400}}),
    "OpenRouter": (403, {"error": {"message": "Your chosen model requires moderation and your input was flagged for "
                                              "violence", "code": 403, "metadata": {"reasons": ["violence"]}}}),
}  # fmt: skip

# Finish reasons: of whom, and as which of OpenAI's.
FINISHES = {
    "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop", "STOP": "stop", None: "stop",
    "": "stop", "complete": "stop", "max_tokens": "length", "MAX_TOKENS": "length", "model_length": "length",
    "max_output_tokens": "length", "safety": "content_filter", "content_filter": "content_filter",
    "length": "length", "stop": "stop",
}  # fmt: skip

# A prompt that does not fit: status and body.
TOO_LONG = {
    "vLLM": (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you "
                                                 "requested 5000 tokens", "type": "BadRequestError", "code": 400}),
    "OpenAI": (400, {"error": {"message": "'max_tokens' is too large: 900", "param": "max_tokens"}}),
    "llama.cpp": (400, {"error": {"code": 400, "message": "the request exceeds the available context size. try "
                                  "increasing the context size or enable context shift",
                                  "type": "exceed_context_size_error", "n_prompt_tokens": 14429, "n_ctx": 8192}}),
    "llama.cpp of 2025": (500, {"error": {"code": 500, "message": "the request exceeds the available context size",
                                          "type": "exceed_context_size_error"}}),
    "llama.cpp in a body": (200, {"error": {"code": 400, "message": "the request exceeds the available context size",
                                            "type": "exceed_context_size_error"}}),
    "llama-cpp-python": (500, {"error": {"message": "Requested tokens (2285) exceed context window of 2048"}}),
    "TGI": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
                  "error_type": "validation"}),
    "Anthropic": (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
    "Gemini": (400, json.dumps([{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token "
                                "count (1200000) exceeds the maximum number of tokens allowed (1048576)."}}])),
    "Groq": (413, {"error": {"message": "Please reduce the length of the messages or completion.",
                             "code": "context_length_exceeded"}}),
}  # fmt: skip

# Other forms of the same completion.
ODD = {
    "content as parts": lambda body: with_message(body, content=[{"type": "text", "text": part} for part in halves(body)]),
    "content as one part": lambda body: with_message(body, content={"type": "text", "text": text_of(body)}),
    "Mistral's thinking as a part": lambda body: with_message(
        body, content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                       {"type": "text", "text": text_of(body)}]),
    "reasoning beside the content": lambda body: with_message(body, reasoning_content="hm"),
    "TGI's finish": lambda body: with_choice(body, finish_reason="eos_token"),
    "no finish": lambda body: with_choice(body, finish_reason=None),
    "empty lines that keep the connection alive": lambda body: (200, "\n\n\n" + json.dumps(body)),
    "an error that is null": lambda body: {**body, "error": None},
    "usage with null details": lambda body: {
        **body, "usage": {**body["usage"], "prompt_tokens_details": None, "total_tokens": None}},
    "no object, no id": lambda body: {"choices": body["choices"], "usage": body["usage"]},
}  # fmt: skip


def text_of(body):
    return body["choices"][0]["message"]["content"]


def halves(body):
    text = text_of(body)
    return text[: len(text) // 2], text[len(text) // 2 :]


def with_choice(body, **changes):
    return {**body, "choices": [{**body["choices"][0], **changes}]}


def with_message(body, **changes):
    return with_choice(body, message={**body["choices"][0]["message"], **changes})
