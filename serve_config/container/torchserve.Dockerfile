# TorchServe: torch and Java. From the repository's folder:
#   docker build -f serve_config/container/torchserve.Dockerfile -t henaw:torchserve .
# torch with CUDA has some gigabytes: without a GPU, let pip use a CPU build. It needs Debian 12,
# because TorchServe, which is no longer developed, supports Python up to 3.11.
# docs/production.md says how to run it, and how to renew the digest.
ARG BASE=docker.io/library/debian:bookworm-slim
ARG BASE_DIGEST=sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${BASE}@${BASE_DIGEST} AS python
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache

FROM python AS build
ARG DEBIAN_FRONTEND=noninteractive
# Another package index, if pip should use one.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_CERT
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
# pip stays in this stage: the image that serves installs nothing.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/henaw
WORKDIR /src
COPY . .
# No package is compiled; the versions are those of the tests. Java is one of the packages.
RUN /opt/pip/bin/pip --python /opt/henaw/bin/python install --no-cache-dir \
      --only-binary :all: --constraint constraints.txt '.[torchserve]' \
 && /opt/henaw/bin/henaw archive --out /opt/henaw/model_store

FROM python
RUN useradd --uid 10001 --no-create-home --home-dir /var/lib/henaw \
      --shell /usr/sbin/nologin henaw \
 && install -d -o henaw -g henaw -m 0700 /var/lib/henaw
COPY --from=build /opt/henaw /opt/henaw
COPY serve_config/container/torchserve/ /etc/henaw/
ENV PATH=/opt/henaw/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HENAW_RUN=/var/lib/henaw
# A number, because Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
WORKDIR /var/lib/henaw
EXPOSE 8080 8083
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=180s CMD ["python", "-c", \
  "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8083/ready', timeout=2)"]
ENTRYPOINT ["henaw"]
CMD ["serve", "--engine", "torchserve", "--foreground", "--config", "/etc/henaw", \
  "--archive", "/opt/henaw/model_store/henaw.mar"]
