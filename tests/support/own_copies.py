"""A PocketFlow of a program's own, and the program."""

from __future__ import annotations

COPY = '''
"""A PocketFlow as people keep it in their repositories: sync only; `run` returns the number of steps."""
import copy

class BaseNode:
    def __init__(self):
        self.params, self.successors = {}, {}

    def __rshift__(self, other):
        self.successors["default"] = other
        return other

    def prep(self, shared): ...
    def exec(self, prep_res): ...
    def post(self, shared, prep_res, exec_res): ...

    def _exec(self, prep_res):
        return self.exec(prep_res)

    def _run(self, shared):
        prepared = self.prep(shared)
        return self.post(shared, prepared, self._exec(prepared))

    def run(self, shared):
        return self._run(shared)

class Node(BaseNode):
    pass

class Flow(BaseNode):
    def __init__(self, start=None):
        super().__init__()
        self.start_node = start

    def _run(self, shared):
        node, steps = copy.copy(self.start_node), 0
        while node is not None:
            action = node._run(shared) or "default"
            node, steps = copy.copy(node.successors.get(action)), steps + 1
        return steps
'''

HELLO = """
class Greet(Node):
    def post(self, shared, prep_res, exec_res):
        print("hello")

greeting = Flow(start=Greet())

if __name__ == "__main__":
    greeting.run({})
"""
"""A program with a flow that prints one line, without its import of PocketFlow."""


def with_import(module: str, program: str = HELLO) -> str:
    """Return a program that has PocketFlow from a module."""
    return f"from {module} import Flow, Node\n{program}"
