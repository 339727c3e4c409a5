"""Set up the OpenTelemetry SDK: `configure()` from code, our distro under `opentelemetry-instrument`."""
