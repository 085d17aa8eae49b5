# tumortrace on the CPU: `segment` and `serve`, without torch. Runs as a non-root user, with a read-only root:
#   docker build --tag tumortrace .
#   docker run --rm --read-only --tmpfs /tmp --network none -v "$PWD/scans:/scans:ro" -v "$PWD/masks:/masks" \
#     tumortrace segment /scans --out /masks
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8080:8080 tumortrace
FROM python:3.12-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src src
RUN python -m venv /opt/tumortrace \
    && /opt/tumortrace/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock \
    && /opt/tumortrace/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim-bookworm
COPY --from=build /opt/tumortrace /opt/tumortrace
RUN useradd --system --uid 10001 --no-create-home tumortrace
ENV PATH=/opt/tumortrace/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TUMORTRACE_CACHE=off \
    ORT_DISABLE_TELEMETRY=1
USER 10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["tumortrace"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
