"""A program that calls OpenAI's and Anthropic's real clients in every way: argv names the server."""

import asyncio
import sys

import anthropic
import openai
from pocketflow import AsyncFlow, AsyncParallelBatchNode, Node

URL = sys.argv[1]
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
MESSAGE = {"model": "claude-haiku-4-5", "messages": CHAT["messages"], "max_tokens": 99}
chat = openai.OpenAI(api_key="none", base_url=f"{URL}/v1").chat.completions
chat_async = openai.AsyncOpenAI(api_key="none", base_url=f"{URL}/v1").chat.completions
messages = anthropic.Anthropic(api_key="none", base_url=URL).messages
messages_async = anthropic.AsyncAnthropic(api_key="none", base_url=URL).messages


class OpenAI(Node):
    def exec(self, prep_res):
        return chat.create(**CHAT).choices[0].message.content


class OpenAIStream(Node):
    def exec(self, prep_res):
        stream = chat.create(**CHAT, stream=True, stream_options={"include_usage": True})
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


class OpenAIFive(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return range(5)

    async def exec_async(self, item):
        return (await chat_async.create(**CHAT)).choices[0].message.content


class Anthropic(Node):
    def exec(self, prep_res):
        return messages.create(**MESSAGE).content[0].text


class AnthropicStream(Node):
    def exec(self, prep_res):
        with messages.stream(**MESSAGE) as stream:
            return "".join(stream.text_stream)


class AnthropicFive(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return range(5)

    async def exec_async(self, item):
        return (await messages_async.create(**MESSAGE)).content[0].text


start = OpenAI()
start >> OpenAIStream() >> OpenAIFive() >> Anthropic() >> AnthropicStream() >> AnthropicFive()
asyncio.run(AsyncFlow(start=start).run_async({}))
