"""The images that memq is run and tested with. The Dockerfile and docker-compose.yml name the same ones."""

from __future__ import annotations

RABBITMQ = "rabbitmq:4.3.6-management"
QDRANT = "qdrant/qdrant:v1.18.3"
PROMETHEUS = "prom/prometheus:v3.5.3"
ALERTMANAGER = "prom/alertmanager:v0.28.1"
GRAFANA = "grafana/grafana:12.1.1"
PYTHON = "python:3.11.14-slim-bookworm"
