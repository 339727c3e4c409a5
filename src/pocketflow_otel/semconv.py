"""Names of spans, attributes and events: constants only.

`gen_ai.*` and `error.type` are OpenTelemetry semantic conventions (GenAI: status Development,
https://opentelemetry.io/docs/specs/semconv/gen-ai/); `session.id`, `user.id`, `tag.tags` and
`metadata` are OpenInference's (https://github.com/Arize-ai/openinference/tree/main/spec);
`pocketflow.*` are ours.
"""

from typing import Final

SCOPE_NAME: Final = "pocketflow_otel"
"""Name of the instrumentation scope of every span made here."""

# Operations, also the first word of a span's name
INVOKE_WORKFLOW: Final = "invoke_workflow"
INVOKE_NODE: Final = "invoke_node"
BATCH_ITEM: Final = "batch_item"

# Standard attributes
ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_WORKFLOW_NAME: Final = "gen_ai.workflow.name"
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
TAGS: Final = "tag.tags"
METADATA: Final = "metadata"

# Flow
RUN_ID: Final = "pocketflow.run.id"
FLOW_CLASS: Final = "pocketflow.flow.class"
FLOW_START_NODE: Final = "pocketflow.flow.start_node"
FLOW_NESTED: Final = "pocketflow.flow.nested"
FLOW_VISIT: Final = "pocketflow.flow.visit"
FLOW_ACTION: Final = "pocketflow.flow.action"
FLOW_STEPS: Final = "pocketflow.flow.steps"

# Node
NODE_NAME: Final = "pocketflow.node.name"
NODE_CLASS: Final = "pocketflow.node.class"
NODE_VISIT: Final = "pocketflow.node.visit"
NODE_MAX_RETRIES: Final = "pocketflow.node.max_retries"
NODE_ACTION: Final = "pocketflow.node.action"
NODE_NEXT: Final = "pocketflow.node.next"
NODE_ATTEMPTS: Final = "pocketflow.node.attempts"
NODE_FALLBACK: Final = "pocketflow.node.fallback"
NODE_PREP_DURATION: Final = "pocketflow.node.prep.duration"
NODE_EXEC_DURATION: Final = "pocketflow.node.exec.duration"
NODE_POST_DURATION: Final = "pocketflow.node.post.duration"
ERROR_PHASE: Final = "pocketflow.error.phase"
"""`prep`, `exec` or `post`: where the error of a node was raised."""

INTERRUPTED: Final = "pocketflow.interrupted"
"""On what was open when its process ended; in trace files only: a dead process sends nothing."""

ERROR_PLACE: Final = "pocketflow.error.place"
"""File name and line of the user's code that raised, as `nodes.py:42`."""

# Batch
BATCH_INDEX: Final = "pocketflow.batch.index"
BATCH_SIZE: Final = "pocketflow.batch.size"
BATCH_MODE: Final = "pocketflow.batch.mode"
"""`sequential` or `parallel`, on the node or flow that runs a batch."""
BATCH_UNTRACED: Final = "pocketflow.batch.untraced_items"
"""Items beyond the limit of spans a batch may have: run and counted, without a span."""
BATCH_FALLBACKS: Final = "pocketflow.batch.fallbacks"
"""Items whose result `exec_fallback` gave, with and without a span; absent without any."""
PARAMS_KEYS: Final = "pocketflow.params.keys"

# Usage and cost of the calls of a step. `gen_ai.usage.*` stand only where a call has no span of its own.
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_COST: Final = "gen_ai.usage.cost"
REQUEST_MODEL: Final = "gen_ai.request.model"
PROVIDER_NAME: Final = "gen_ai.provider.name"

# Their sums, on every flow, node and item span: never under `gen_ai.*`, which back ends add up.
SUM_CALLS: Final = "pocketflow.usage.calls"
SUM_INPUT_TOKENS: Final = "pocketflow.usage.input_tokens"
SUM_OUTPUT_TOKENS: Final = "pocketflow.usage.output_tokens"
SUM_CACHE_READ_TOKENS: Final = "pocketflow.usage.cache_read.input_tokens"
SUM_MODELS: Final = "pocketflow.usage.models"
SUM_BY_MODEL: Final = "pocketflow.usage.by_model"
"""On the root of a run: a JSON object of the sums by model."""
COST: Final = "pocketflow.cost.usd"
COST_UNPRICED_CALLS: Final = "pocketflow.cost.unpriced_calls"

# Keys of a store under which a step leaves usage
LLM_USAGE: Final = "llm_usage"
LLM_MODEL: Final = "llm_model"

# pflow
NODE_CACHED: Final = "pocketflow.node.cached"
"""The step did not run: its result came from a cache, and costs nothing."""
NODE_CACHE_SOURCE: Final = "pocketflow.node.cache.source"
LOOP_ITERATION: Final = "pocketflow.loop.iteration"
FAILURE_CATEGORY: Final = "pocketflow.failure.category"
"""pflow's word for what kind of failure it was: `shell_failure`, `template_error`, ..."""
GATE_OUTCOME: Final = "pocketflow.gate.outcome"
FLOW_STATUS: Final = "pocketflow.flow.status"
"""pflow's word for how a run ended: `success`, `degraded`, `failed`, `denied`, `paused`."""
FLOW_ONLY_NODE: Final = "pocketflow.flow.only_node"
"""The one node that `pflow run --only` executes."""
FLOW_RESTORED_NODES: Final = "pocketflow.flow.restored_nodes"
"""Nodes whose outputs came from an earlier run: no step of theirs was executed."""
FLOW_FILE: Final = "pocketflow.flow.file"
"""Base name of the workflow's file."""
EXECUTION_ID: Final = "pflow.execution.id"
"""pflow's own id of a run: that of its trace, and what `pflow resume` takes."""
RESUMED_FROM: Final = "pflow.resumed_from"
PFLOW_VERSION: Final = "pflow.version"
IMPORTED_FROM: Final = "pocketflow.imported_from"
"""On the resource of a run that was imported: the base name of pflow's own trace of it."""

# Shared store
SHARED_SCHEMA: Final = "pocketflow.shared.schema"
SHARED_ADDED_KEYS: Final = "pocketflow.shared.added.keys"
SHARED_ADDED_TYPES: Final = "pocketflow.shared.added.types"
SHARED_MODIFIED_KEYS: Final = "pocketflow.shared.modified.keys"
SHARED_MODIFIED_TYPES: Final = "pocketflow.shared.modified.types"
SHARED_REMOVED_KEYS: Final = "pocketflow.shared.removed.keys"
SHARED_TRUNCATED: Final = "pocketflow.shared.truncated"
SHARED_BOUNDED: Final = "pocketflow.shared.bounded"
SHARED_UNCOMPARED: Final = "pocketflow.shared.uncompared"
"""The store was listed when the step began, and could not be when it ended."""
SHARED_CONCURRENT: Final = "pocketflow.shared.concurrent"
SHARED_VALUES: Final = "pocketflow.shared.values"

# The same for back ends that look for other names (`POCKETFLOW_OTEL_COMPAT`)
OPENINFERENCE_SPAN_KIND: Final = "openinference.span.kind"
GRAPH_NODE_ID: Final = "graph.node.id"
GRAPH_NODE_PARENT_ID: Final = "graph.node.parent_id"
INPUT_VALUE: Final = "input.value"
INPUT_MIME_TYPE: Final = "input.mime_type"
OUTPUT_VALUE: Final = "output.value"
OUTPUT_MIME_TYPE: Final = "output.mime_type"
LANGFUSE_OBSERVATION_TYPE: Final = "langfuse.observation.type"
LANGFUSE_OBSERVATION_INPUT: Final = "langfuse.observation.input"
LANGFUSE_OBSERVATION_OUTPUT: Final = "langfuse.observation.output"
LANGFUSE_TRACE_NAME: Final = "langfuse.trace.name"
LANGFUSE_TRACE_TAGS: Final = "langfuse.trace.tags"

# Metrics, and the attributes that only they have
METRIC_WORKFLOW_DURATION: Final = "gen_ai.invoke_workflow.duration"
METRIC_NODE_DURATION: Final = "pocketflow.node.duration"
METRIC_NODE_ATTEMPTS: Final = "pocketflow.node.attempts"
METRIC_CLIENT_USAGE: Final = "gen_ai.client.token.usage"
METRIC_COST: Final = "pocketflow.cost"
METRIC_RUNS: Final = "pocketflow.runs"
STATUS: Final = "pocketflow.status"
STATUS_OK: Final = "ok"
STATUS_ERROR: Final = "error"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - tokens of text

# Events
ATTEMPT_FAILED: Final = "pocketflow.attempt.failed"
ATTEMPT: Final = "attempt"
ATTEMPT_MAX: Final = "max"
ATTEMPT_PHASE: Final = "phase"
ATTEMPT_WAIT: Final = "wait_seconds"
ATTEMPT_PLACE: Final = "place"
PROGRESS: Final = "pocketflow.progress"
PROGRESS_DONE: Final = "done"
PROGRESS_TOTAL: Final = "total"
ENGINE_BEGAN: Final = "pocketflow.engine.began"
"""On the root of a run of pflow: it has been read, checked and compiled, and its first node follows."""
WARNING: Final = "pocketflow.warning"
WARNING_CATEGORY: Final = "category"
WARNING_SEVERITY: Final = "severity"
WARNING_NODE: Final = "node"
WARNING_MESSAGE: Final = "message"
ACTION_UNMATCHED: Final = "pocketflow.action.unmatched"
UNMATCHED_ACTION: Final = "action"
UNMATCHED_KNOWN: Final = "known"

DEFAULT_ACTION: Final = "default"
PREP: Final = "prep"
EXEC: Final = "exec"
POST: Final = "post"
SEQUENTIAL: Final = "sequential"
PARALLEL: Final = "parallel"
