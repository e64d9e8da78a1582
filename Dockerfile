# syntax=docker/dockerfile:1
#
#     docker build --build-arg COMMIT=$(git rev-parse --short HEAD) --tag bearward:0.1.0 .
#
# What runs has no shell, no package manager and no root: only the binary, the C library and the authorities' certificates.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
ARG COMMIT=""
ENV BEARWARD_COMMIT=$COMMIT
# Locked until the binary is copied: another build at the same time would put its own there.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target,sharing=locked \
    cargo build --release --locked --bin bearward && cp target/release/bearward /bearward

FROM gcr.io/distroless/cc-debian12:nonroot
ARG COMMIT=""
LABEL org.opencontainers.image.title="bearward" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.description="A gateway that lets a request through only with a proven access token" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /usr/share/doc/bearward/LICENSE
COPY --from=build /bearward /usr/bin/bearward
USER 65532:65532
EXPOSE 8080 9901
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/bearward"]
CMD ["run", "--config", "/etc/bearward/bearward.toml"]
