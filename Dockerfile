# The appliance in one container: see README.md and docs/OPERATIONS.md. `make image` builds it.
# Nothing in it can give anybody another user's rights: no file is setuid or setgid.

FROM debian:trixie-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/*.log \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

# Packages are all in the lock: pip has nothing to resolve.
FROM base AS packages
RUN apt-get update && apt-get install -y --no-install-recommends binutils
RUN python3 -m venv /opt/appliance
COPY requirements.lock /build/
RUN /opt/appliance/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile \
      --no-deps --require-hashes -r /build/requirements.lock

# On its own, so that a change of the appliance builds in a second and is a small layer.
FROM packages AS application
COPY pyproject.toml README.md LICENSE NOTICE /build/
COPY appliance /build/appliance
RUN /opt/appliance/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile \
      --no-deps --no-build-isolation --target /opt/appliance/app /build \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/appliance/app

# What nothing reads at run time goes. Byte code stays: it halves the time to import Airflow.
# Libraries that a wheel brought along (*.libs) were patched and are not stripped.
FROM packages AS slim
RUN cd /opt/appliance/lib/python3*/site-packages \
 && find . -name '*.so*' -type f ! -path './*.libs/*' -exec strip --strip-unneeded {} + \
 && rm -rf airflow/ui/dist supervisor/tests temporalio/bridge/sdk-core \
 && find babel/locale-data -name '*.dat' ! -name 'root.dat' ! -name 'en*.dat' -delete \
 && find . -depth -type d -name __pycache__ -exec rm -rf {} + \
 && /opt/appliance/bin/pip uninstall -y -q flit_core pip \
 && echo /opt/appliance/app > appliance.pth \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM base
LABEL org.opencontainers.image.title="appliance" \
      org.opencontainers.image.description="Runs standard Airflow 3 DAG files on Temporal" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home \
      --shell /usr/sbin/nologin appliance \
 && install -d -m 0777 /data /shared \
 && install -d /dags /plugins /conf \
 && ln -s /project /usr/local/airflow
COPY --from=slim /opt/appliance /opt/appliance
COPY --chmod=0755 appliance/image/ /usr/local/bin/
COPY --chmod=0644 LICENSE NOTICE /usr/share/doc/appliance/
COPY --chmod=0644 conf/specimen.yaml /conf/appliance.yaml
COPY --chmod=0644 dags/ /dags/
COPY --from=application /opt/appliance/app /opt/appliance/app

# The link above: DAG files of Astro projects name /usr/local/airflow.
# USER and HOME are for users that are not in /etc/passwd: `docker run --user` takes any.
ENV APPLIANCE_IMAGE=1 \
    APPLIANCE_DATA=/data \
    APPLIANCE_IP=0.0.0.0 \
    HOME=/data \
    LANG=C.UTF-8 \
    PATH=/opt/appliance/app/bin:/usr/local/bin:/opt/appliance/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    USER=appliance
USER 10001
VOLUME /data
EXPOSE 7233 8233 9233
# Asked often, as it costs little; one that fails has waited for 4 to 7 s.
HEALTHCHECK --interval=2s --timeout=10s --retries=5 CMD ["appliance-checkup"]
ENTRYPOINT ["appliance-entry"]
