FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/plaudit
WORKDIR /src
# The libraries first: they change less often than the application, and their layer is then kept.
COPY requirements/run.txt requirements/run.txt
RUN /opt/plaudit/bin/pip install --require-hashes -r requirements/run.txt
COPY . .
RUN /opt/plaudit/bin/pip install --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --create-home --home-dir /var/lib/plaudit plaudit
COPY --from=build /opt/plaudit /opt/plaudit
ENV PATH=/opt/plaudit/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PLAUDIT_HOST=0.0.0.0 \
    PLAUDIT_PORT=8000 \
    PLAUDIT_DATA=/var/lib/plaudit \
    PLAUDIT_LOG_FORMAT=json
USER plaudit
WORKDIR /var/lib/plaudit
VOLUME /var/lib/plaudit
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s CMD \
    ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PLAUDIT_PORT']}/health/ready\", timeout=2)"]
CMD ["plaudit", "serve"]
