# Coffer with the engines that it runs, for one machine or for several. docker-compose.yml shows the parts.
#
#   docker build -t coffer .
#
# Nothing of it runs as root. Servers of databases run as the same account as the worker: on a machine of its own, as
# root, each instance has an account to itself (docs/operations.md, "systemd"), which a container cannot give.

FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libpq-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY migrations migrations
# The document of the API holds its samples.
COPY api-ref api-ref
ARG PROFILE=release
RUN cargo build --locked --profile "$PROFILE" \
    && install -D "target/$(test "$PROFILE" = dev && echo debug || echo "$PROFILE")/coffer" /out/coffer

# The engines hold absolute paths: they are fetched to where they will be.
FROM debian:bookworm-slim AS engines
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates debian-archive-keyring patchelf \
    && rm -rf /var/lib/apt/lists/*
COPY .make/fetch-engines /usr/local/bin/fetch-engines
ARG ENGINES="mariadb-10.11 mariadb-11.8"
RUN bash /usr/local/bin/fetch-engines /var/cache/coffer/engines $ENGINES && rm -rf /var/cache/coffer/engines/.cache

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libpq5 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 coffer \
    && useradd --uid 10001 --gid coffer --home-dir /var/lib/coffer --shell /usr/sbin/nologin coffer \
    && install -d -m 0700 -o coffer -g coffer /var/lib/coffer /run/user/coffer
COPY --from=engines /var/cache/coffer/engines /var/cache/coffer/engines
COPY --from=build /out/coffer /usr/local/bin/coffer
USER coffer
# Sockets of the servers lie below it; worker and endpoint share it.
ENV XDG_RUNTIME_DIR=/run/user/coffer
VOLUME ["/var/lib/coffer", "/run/user/coffer"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["coffer"]
