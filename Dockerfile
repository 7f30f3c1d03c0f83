# syntax=docker/dockerfile:1
# Two stages: wheels are made where a compiler is, and only they go into the image.
FROM docker.io/library/python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN python -m venv /opt/buildfarm-exporter && \
    /opt/buildfarm-exporter/bin/pip install --no-cache-dir --no-compile '.[postgresql]'

FROM docker.io/library/python:3.13-slim
LABEL org.opencontainers.image.title="buildfarm-exporter" \
      org.opencontainers.image.description="Prometheus exporter and alerting daemon for Docker Buildx build farms" \
      org.opencontainers.image.licenses="Apache-2.0"
# The user's home holds SSH keys and known_hosts (mount them read-only) and the history (a volume).
RUN useradd --system --uid 9972 --create-home --home-dir /var/lib/buildfarm-exporter exporter && \
    install --directory --owner=9972 --mode=0700 /var/lib/buildfarm-exporter/.local/state
COPY --from=build /opt/buildfarm-exporter /opt/buildfarm-exporter
ENV PATH=/opt/buildfarm-exporter/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 9972
VOLUME /var/lib/buildfarm-exporter/.local/state
EXPOSE 9972
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9972/-/healthy', timeout=4)"]
ENTRYPOINT ["buildfarm-exporter"]
CMD ["run"]
