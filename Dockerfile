# docker build -t ferlib . && docker run -it --rm -p 5000:5000 ferlib
#
# BASE is an image with Python 3.11 to 3.13 as python3; tools/container_test.sh passes one without a registry.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
SHELL ["/bin/sh", "-euc"]
WORKDIR /source
# The environment that is copied has no pip; another one installs into it.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/ferlib
# The packages change less often than the code.
COPY Pipfile.lock tools/locked_requirements.py ./
RUN python3 locked_requirements.py predict headless serve > requirements.txt; \
    /opt/pip/bin/pip --python /opt/ferlib/bin/python install --no-cache-dir --no-deps --require-hashes \
        --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY ferlib ferlib
RUN /opt/pip/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /tmp/wheel .; \
    /opt/pip/bin/pip --python /opt/ferlib/bin/python install --no-cache-dir --no-deps /tmp/wheel/ferlib-*.whl; \
    /opt/pip/bin/pip --python /opt/ferlib/bin/python check

FROM ${BASE}
LABEL org.opencontainers.image.title="ferlib" \
      org.opencontainers.image.description="Facial emotion recognition: REST API, page and command line" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/ferlib /opt/ferlib
# The root file system may be read-only. /tmp has the videos while they are processed.
ENV PATH=/opt/ferlib/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# For files of the command line: docker run --rm -v "$PWD:/data" ferlib predict photo.jpg
WORKDIR /data
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health/ready', timeout=4)"]
ENTRYPOINT ["ferlib"]
CMD ["serve", "--host", "0.0.0.0", "--port", "5000"]
