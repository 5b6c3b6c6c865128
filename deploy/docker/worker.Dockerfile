# syntax=docker/dockerfile:1
# The GPU side, with CUDA from torch's own wheels. Build from the repository's root:
#   docker build -f deploy/docker/worker.Dockerfile -t easel-worker .
# Unbuilt: written to Docker's conventions and checked for paths and names by tests/test_deploy.py; no image of it has
# been built yet.
FROM python:3.13-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pyproject.toml requirements.lock ./
ARG EXTRAS="worker cluster"
RUN python -c "import os, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(p['dependencies'] + [d for extra in '$EXTRAS'.split() for d in p['optional-dependencies'][extra]]))" > needed.txt \
    && python -m venv /opt/easel \
    && /opt/easel/bin/pip install --no-cache-dir --constraint requirements.lock -r needed.txt

FROM python:3.13-slim
# gcc: Triton compiles kernels on the machine.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /cache --create-home easel
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
ENV PATH=/opt/easel/bin:$PATH PYTHONUNBUFFERED=1 HF_HOME=/cache/huggingface EASEL_LOG_FORMAT=json
USER easel
VOLUME /cache
EXPOSE 7870
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "bot.py"]
CMD ["worker", "--host", "0.0.0.0", "--port", "7870"]
