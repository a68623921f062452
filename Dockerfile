# Builds the server with the toolchain and the dependencies that the workspace names, and ships the binary alone.
FROM rust:1.95-slim-bookworm AS build
# SQLite is compiled from its bundled C source.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY crates ./crates
COPY bench ./bench
RUN cargo build --release --locked --package counterfoil --bin counterfoil

# For compose.yaml: carries connections to a service that listens on loopback only.
FROM debian:bookworm-slim AS gateway
RUN apt-get update \
    && apt-get install --yes --no-install-recommends socat \
    && rm -rf /var/lib/apt/lists/*
USER nobody
CMD ["sh", "-c", "socat TCP-LISTEN:8101,fork,reuseaddr TCP:127.0.0.1:3101 & exec socat TCP-LISTEN:8100,fork,reuseaddr TCP:127.0.0.1:3100"]

FROM debian:bookworm-slim
# Stripe and the mail server are believed by their certificates.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin counterfoil \
    && install --directory --owner=counterfoil --group=counterfoil --mode=0700 /data
COPY --from=build /src/target/release/counterfoil /usr/local/bin/counterfoil
USER counterfoil
# Signing keys live here, and the SQLite file where no DATABASE_URL is given: keep it.
VOLUME ["/data"]
ENV COUNTERFOIL_DATA_DIR=/data \
    COUNTERFOIL_LISTEN=0.0.0.0:3100
EXPOSE 3100
# SIGTERM drains: running requests are answered before the process ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["counterfoil"]
CMD ["serve"]
