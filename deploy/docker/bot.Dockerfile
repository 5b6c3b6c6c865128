# syntax=docker/dockerfile:1
# The bot alone: no torch, no GPU. Build from the repository's root:
#   docker build -f deploy/docker/bot.Dockerfile -t easel-bot .
# Unbuilt: written to Docker's conventions and checked for paths and names by tests/test_deploy.py; no image of it has
# been built yet.
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# The dependencies first, from what pyproject.toml says: they change less often than the code.
RUN python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" > needed.txt \
    && python -m venv /opt/easel \
    && /opt/easel/bin/pip install --no-cache-dir --constraint requirements.lock -r needed.txt "matplotlib>=3.10,<4"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home easel
COPY --from=build /opt/easel /opt/easel
WORKDIR /app
COPY bot.py LICENSE ./
COPY domain domain
COPY config config
COPY db db
COPY jobs jobs
COPY backends backends
COPY cogs cogs
COPY command_line command_line
ENV PATH=/opt/easel/bin:$PATH PYTHONUNBUFFERED=1 EASEL_DATA_DIR=/data EASEL_LOG_FORMAT=json EASEL_METRICS_LISTEN=0.0.0.0:9464
USER easel
VOLUME /data
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/readyz', timeout=4)"]
ENTRYPOINT ["python", "bot.py"]
CMD ["run"]
