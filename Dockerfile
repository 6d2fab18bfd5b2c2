# docker build --tag mpp .
# docker run --read-only --publish 9090:9090 --env MPP_ENDPOINT="http://prom-a:9090 http://prom-b:9090" mpp
#
# Everything is configured by options behind the image's name, or by MPP_* variables; the health check knows of MPP_PORT only.

# An exact tag, so that the same checkout gives the same image.
ARG PYTHON=python:3.14.8-slim-trixie

FROM ${PYTHON} AS build
COPY . /src
RUN python -m venv /opt/mpp \
 && /opt/mpp/bin/python -m pip install --no-cache-dir --disable-pip-version-check /src \
 # Twisted's own tests are a good part of it.
 && find /opt/mpp -type d -name test -path '*/twisted/*' -prune -exec rm -rf {} + \
 # Twisted keeps a list of its plugins beside them, and makes it anew unless it is newer than they are; in the finished
 # image nobody may write it, and times are in whole seconds.
 && /opt/mpp/bin/twistd --help >/dev/null \
 && find /opt/mpp -name dropin.cache -exec touch --date='1 minute' {} + \
 && /opt/mpp/bin/mpp --version \
 && /opt/mpp/bin/python -m pip uninstall --yes --quiet pip \
 && rm -rf /opt/mpp/bin/pip* /opt/mpp/bin/[Aa]ctivate*

FROM ${PYTHON}
COPY --from=build /opt/mpp /opt/mpp
ENV PATH=/opt/mpp/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
USER 65532:65532
WORKDIR /
EXPOSE 9090
# No curl in here. Beside a Service named mpp, Kubernetes sets MPP_PORT=tcp://..., which mpp ignores, too.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; p = os.environ.get('MPP_PORT', ''); u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:%s/mpp/health' % (p if p.isdecimal() else 9090), timeout=4)"]
ENTRYPOINT ["mpp"]
