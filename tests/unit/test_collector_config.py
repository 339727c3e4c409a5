"""The files in collector-config/ and docker-compose.yml fit together, and the programs they are for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pocketflow_otel import semconv
from pocketflow_otel.instrument.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "collector-config"
COLLECTORS = ("collector-agent", "collector-gateway", "collector-tail-sampling", "jaeger")
NAMES = {value for name, value in vars(semconv).items() if name.isupper()}

# By their present names; the collector takes `otlp` and `loadbalancing` too, and warns each time.
KNOWN = {
    "collector": {
        "receivers": {"otlp"},
        "processors": {"memory_limiter", "redaction", "batch", "tail_sampling"},
        "exporters": {"otlp_grpc", "otlp_http", "load_balancing"},
        "extensions": {"health_check"},
    },
    "jaeger": {
        "receivers": {"otlp"},
        "processors": {"batch"},
        "exporters": {"jaeger_storage_exporter"},
        "extensions": {"jaeger_storage", "jaeger_query", "healthcheckv2"},
    },
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def config(name: str) -> Any:
    return read(FOLDER / f"{name}.yaml")


COMPOSE = read(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def port(address: str | int) -> int:
    return int(str(address).rpartition(":")[2].partition("/")[0])


# Collectors


@pytest.mark.parametrize("name", COLLECTORS)
def test_a_pipeline_names_what_is_defined_and_everything_defined_is_used(name: str) -> None:
    content = config(name)
    used: dict[str, set[str]] = {"extensions": set(content["service"]["extensions"])}
    for pipeline in content["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            used.setdefault(kind, set()).update(pipeline[kind])
    assert used == {kind: set(content[kind]) for kind in used}


@pytest.mark.parametrize("name", COLLECTORS)
def test_components_go_by_their_present_names(name: str) -> None:
    content = config(name)
    known = KNOWN["jaeger" if name == "jaeger" else "collector"]
    assert set(content) == {*known, "service"}
    for kind, names in known.items():
        assert {component.partition("/")[0] for component in content[kind]} <= names


@pytest.mark.parametrize("name", COLLECTORS[:3])
def test_memory_is_limited_first_and_batches_are_made_last(name: str) -> None:
    for pipeline in config(name)["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
        # The load balancer regroups spans by trace: what is batched before it is taken apart.
        assert pipeline["exporters"] == ["load_balancing"] or pipeline["processors"][-1] == "batch"


@pytest.mark.parametrize("name", ["collector-agent", "collector-gateway"])
def test_values_of_the_store_are_masked_before_they_leave_the_machine(name: str) -> None:
    content = config(name)
    assert "redaction" in content["service"]["pipelines"]["traces"]["processors"]
    redaction = content["processors"]["redaction"]
    assert redaction["allow_all_keys"] is True  # Else every attribute that is not listed is removed.
    masked = {
        name
        for name in NAMES
        if any(re.search(pattern, name) for pattern in redaction["blocked_key_patterns"])
    }
    assert masked == {
        semconv.SHARED_VALUES,
        semconv.INPUT_VALUE,
        semconv.OUTPUT_VALUE,
        semconv.LANGFUSE_OBSERVATION_INPUT,
        semconv.LANGFUSE_OBSERVATION_OUTPUT,
    }


def test_tail_sampling_judges_by_attributes_that_exist() -> None:
    policies = config("collector-tail-sampling")["processors"]["tail_sampling"]["policies"]
    kinds = {policy["type"] for policy in policies}
    assert kinds == {"status_code", "latency", "ottl_condition", "numeric_attribute", "probabilistic"}
    for policy in policies:
        assert policy["type"] in policy  # Each has the settings of its type.
    text = json.dumps(policies)
    named = {*re.findall(r'attributes\[\\"(.+?)\\"\]', text), *re.findall(r'"key": "(.+?)"', text)}
    assert named == {semconv.COST, semconv.NODE_ATTEMPTS}


def test_the_gateway_sends_whole_traces_to_the_tail_sampling_service() -> None:
    balancing = config("collector-gateway")["exporters"]["load_balancing"]
    assert balancing["routing_key"] == "traceID"
    where = balancing["resolver"]["dns"]
    assert where["hostname"] in SERVICES
    receiver = config("collector-tail-sampling")["receivers"]["otlp"]["protocols"]["grpc"]
    assert where["port"] == port(receiver["endpoint"])


@pytest.mark.parametrize("name", COLLECTORS[:3])
def test_exporters_send_to_services_where_those_listen(name: str) -> None:
    listens = {
        "jaeger": port(config("jaeger")["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]),
        "tempo": port(config("tempo")["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]),
        "prometheus": 9090,
    }
    for component, exporter in config(name)["exporters"].items():
        if component != "load_balancing":
            host, _, rest = exporter["endpoint"].removeprefix("http://").partition(":")
            assert host in SERVICES
            assert listens[host] == int(rest.partition("/")[0])


# Jaeger 2, Tempo 3, Prometheus 3


def test_jaeger_reads_what_it_writes() -> None:
    content = config("jaeger")
    (backend,) = content["extensions"]["jaeger_storage"]["backends"]
    assert content["extensions"]["jaeger_query"]["storage"] == {"traces": backend}
    assert content["exporters"]["jaeger_storage_exporter"] == {"trace_storage": backend}


def test_tempo_has_no_block_of_tempo_2() -> None:
    content = config("tempo")
    assert not {"ingester", "ingester_client", "compactor", "metrics_generator_client"} & set(content)
    assert content["storage"]["trace"]["backend"] == "local"


def test_prometheus_takes_otlp_and_keeps_exemplars() -> None:
    flags = SERVICES["prometheus"]["command"]
    assert {"--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"} <= {*flags}
    assert config("collector-agent")["exporters"]["otlp_http/prometheus"]["endpoint"].endswith("/api/v1/otlp")
    assert "service.name" in config("prometheus")["otlp"]["promote_resource_attributes"]


# Compose


def test_images_are_pinned() -> None:
    assert {service["image"] for service in SERVICES.values()} == {
        "otel/opentelemetry-collector-contrib:0.159.0",
        "jaegertracing/jaeger:2.20.0",
        "grafana/tempo:3.0.3",
        "grafana/grafana:13.1.3",
        "prom/prometheus:v3.5.0",
    }


def test_every_port_is_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) > 8
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_ports_of_services_that_start_together_do_not_collide() -> None:
    for profile in (None, "fleet"):
        hosts = [
            port.split(":")[1]
            for service in SERVICES.values()
            if service.get("profiles", [profile]) == [profile] or "profiles" not in service
            for port in service.get("ports", ())
        ]
        assert len(hosts) == len(set(hosts))


def test_published_ports_are_those_the_configs_listen_on() -> None:
    for name, service in SERVICES.items():
        mounted = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith("./")]
        assert all((ROOT / path).exists() for path in mounted), name
        file = ROOT / mounted[0]
        if file.suffix == ".yaml" and service["image"].split("/")[0] in ("otel", "jaegertracing"):
            inside = {port(mapping) for mapping in service.get("ports", ())}
            listens = {port(endpoint) for endpoint in endpoints(read(file))}
            assert inside <= listens, name


def endpoints(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for name, value in content.items():
            if name == "endpoint" and str(value).startswith("0.0.0.0"):
                yield value
            else:
                yield from endpoints(value)


def test_jaeger_alone_is_one_service_that_takes_otlp() -> None:
    light = SERVICES["jaeger-light"]
    assert light["profiles"] == ["light"]
    assert {port(mapping) for mapping in light["ports"]} == {4317, 4318, 16686}
    assert "depends_on" not in light


# Grafana


DASHBOARD = json.loads((FOLDER / "grafana/dashboards/pocketflow.json").read_text(encoding="utf-8"))


def targets() -> list[dict[str, Any]]:
    return [target for panel in DASHBOARD["panels"] for target in panel["targets"]]


def prometheus_names() -> set[str]:
    """Return the names Prometheus gives our metrics: dots to underscores, units and kinds appended."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    instruments = vars(Metrics(provider)).values()
    provider.shutdown()
    names = set()
    for instrument in instruments:
        unit = "" if instrument.unit.startswith("{") else instrument.unit
        unit = {"s": "seconds"}.get(unit, unit)
        name = "_".join(filter(None, [instrument.name.replace(".", "_"), unit]))
        if "Counter" in type(instrument).__name__:
            names.add(f"{name}_total")
        else:
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return names


def promql() -> list[str]:
    variables = [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"]]
    return [target["expr"] for target in targets() if "expr" in target] + variables


def test_every_metric_and_label_of_the_dashboard_is_one_of_ours() -> None:
    metrics = prometheus_names()
    labels = {name.replace(".", "_") for name in NAMES} | {"le"}
    seen = set()
    for query in promql():
        seen |= set(re.findall(r"\b((?:pocketflow|gen_ai)_\w+)(?=[{,\[])", query)) - labels
        for group in re.findall(r"by \((.*?)\)", query):
            assert {label.strip() for label in group.split(",")} <= labels, query
        for selector in re.findall(r"\{(.*?)\}", query):
            assert {*re.findall(r"(\w+)\s*=~?", selector)} <= labels, query
        for label in re.findall(r"label_values\(.*, (\w+)\)", query):
            assert label in labels
    assert seen <= metrics
    assert {name.removesuffix("_bucket") for name in seen} >= {
        "pocketflow_runs_total",
        "pocketflow_cost_USD_total",
        "pocketflow_node_attempts_total",
        "pocketflow_node_duration_seconds",
        "gen_ai_invoke_workflow_duration_seconds",
    }


def test_every_label_a_legend_shows_is_one_of_ours() -> None:
    labels = {name.replace(".", "_") for name in NAMES}
    for target in targets():
        assert {*re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))} <= labels


def test_every_attribute_of_traceql_is_one_of_ours() -> None:
    queries = [target["query"] for target in targets() if "query" in target]
    named = {name for query in queries for name in re.findall(r"span\.([\w.]+)", query)}
    assert len(queries) > 3
    assert named <= NAMES
    assert len(named) > 6


def test_values_that_queries_compare_with_are_those_we_record() -> None:
    said = {value for query in promql() for value in re.findall(r'pocketflow_status="(\w+)"', query)}
    assert said <= {semconv.STATUS_OK, semconv.STATUS_ERROR}


def test_data_sources_are_provisioned_and_lead_from_a_point_to_its_trace() -> None:
    sources = read(FOLDER / "grafana/provisioning/datasources/datasources.yaml")["datasources"]
    by_uid = {source["uid"]: source for source in sources}
    used = {target["datasource"]["uid"] for target in targets()}
    assert used == {"prometheus", "tempo"}
    assert used <= set(by_uid)
    (destination,) = by_uid["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination == {"name": "trace_id", "datasourceUid": "tempo"}
    assert any(target.get("exemplar") for target in targets())
    for source in sources:
        host = source["url"].removeprefix("http://").partition(":")[0]
        assert host in SERVICES


def test_the_dashboard_shows_what_the_names_stand_for() -> None:
    titles = " ".join(panel["title"] for panel in DASHBOARD["panels"]).lower()
    for subject in ("runs", "failed", "p95", "tokens by model", "cost by model", "retries", "slowest"):
        assert subject in titles
