# Three targets:
#   docker build -t eventstored .                              the daemon, for a PostgreSQL of yours
#   docker build -t eventstored:embedded --target embedded .   the daemon with a PostgreSQL inside
#   docker build --target build .                              the build alone

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/install-deps.sh deploy/
RUN deploy/install-deps.sh build
COPY . .
RUN cmake --preset release -D EVENTSTORE_BUILD_TESTS=OFF \
 && cmake --build build --target eventstored eventstorectl \
 && strip build/bin/eventstored build/bin/eventstorectl

# The daemon with an embedded PostgreSQL: one container, for development and single machines. Its data
# folder is the volume.
FROM debian:bookworm-slim AS embedded
COPY deploy/install-deps.sh /tmp/
RUN /tmp/install-deps.sh embedded && rm -rf /var/lib/apt/lists/* /tmp/install-deps.sh \
 && useradd --system --uid 10001 --home-dir /var/lib/eventstored --create-home eventstored
COPY --from=build /src/build/bin/eventstored /src/build/bin/eventstorectl /usr/local/bin/
COPY deploy/eventstored.yaml /etc/eventstored/eventstored.yaml
USER eventstored
VOLUME /var/lib/eventstored
EXPOSE 7440 9440
ENV EVENTSTORED_LISTEN=0.0.0.0:7440 \
    EVENTSTORED_METRICS_LISTEN=0.0.0.0:9440 \
    EVENTSTORED_DATA_DIR=/var/lib/eventstored
ENTRYPOINT ["/usr/local/bin/eventstored"]
CMD ["--config", "/etc/eventstored/eventstored.yaml"]

# The daemon alone. Give it EVENTSTORED_DATABASE_DSN.
FROM debian:bookworm-slim AS runtime
COPY deploy/install-deps.sh /tmp/
RUN /tmp/install-deps.sh runtime && rm -rf /var/lib/apt/lists/* /tmp/install-deps.sh \
 && useradd --system --uid 10001 --home-dir /var/lib/eventstored --create-home eventstored
COPY --from=build /src/build/bin/eventstored /src/build/bin/eventstorectl /usr/local/bin/
COPY deploy/eventstored.yaml /etc/eventstored/eventstored.yaml
USER eventstored
EXPOSE 7440 9440
ENV EVENTSTORED_LISTEN=0.0.0.0:7440 \
    EVENTSTORED_METRICS_LISTEN=0.0.0.0:9440 \
    EVENTSTORED_DATA_DIR=/var/lib/eventstored
ENTRYPOINT ["/usr/local/bin/eventstored"]
CMD ["--config", "/etc/eventstored/eventstored.yaml"]
