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

# Batch
BATCH_INDEX: Final = "pocketflow.batch.index"
BATCH_SIZE: Final = "pocketflow.batch.size"
BATCH_MODE: Final = "pocketflow.batch.mode"
"""`sequential` or `parallel`, on the node or flow that runs a batch."""
BATCH_UNTRACED: Final = "pocketflow.batch.untraced_items"
"""Items beyond the limit of spans a batch may have: run and counted, without a span."""
PARAMS_KEYS: Final = "pocketflow.params.keys"

# Shared store
SHARED_SCHEMA: Final = "pocketflow.shared.schema"
SHARED_ADDED_KEYS: Final = "pocketflow.shared.added.keys"
SHARED_ADDED_TYPES: Final = "pocketflow.shared.added.types"
SHARED_MODIFIED_KEYS: Final = "pocketflow.shared.modified.keys"
SHARED_MODIFIED_TYPES: Final = "pocketflow.shared.modified.types"
SHARED_REMOVED_KEYS: Final = "pocketflow.shared.removed.keys"
SHARED_TRUNCATED: Final = "pocketflow.shared.truncated"
SHARED_BOUNDED: Final = "pocketflow.shared.bounded"
SHARED_CONCURRENT: Final = "pocketflow.shared.concurrent"
SHARED_VALUES: Final = "pocketflow.shared.values"

# Events
ATTEMPT_FAILED: Final = "pocketflow.attempt.failed"
ATTEMPT: Final = "attempt"
ATTEMPT_MAX: Final = "max"
ATTEMPT_PHASE: Final = "phase"
ATTEMPT_WAIT: Final = "wait_seconds"
ACTION_UNMATCHED: Final = "pocketflow.action.unmatched"
UNMATCHED_ACTION: Final = "action"
UNMATCHED_KNOWN: Final = "known"

DEFAULT_ACTION: Final = "default"
PREP: Final = "prep"
EXEC: Final = "exec"
POST: Final = "post"
SEQUENTIAL: Final = "sequential"
PARALLEL: Final = "parallel"
