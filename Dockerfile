# The image of the operator: one binary over a distroless base (glibc, CA bundle, no shell, no package manager).
# `make image` builds it; tests/image builds its last stage from scratch, without a network, and runs what comes out.
# For another platform run the engine on it, or with an emulator: nothing is cross-compiled.

ARG RUST_VERSION=1.95.0
# Both of the same Debian: a binary runs with the glibc that it was linked to.
ARG BUILDER=docker.io/library/rust:${RUST_VERSION}-slim-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILDER} AS compiled
# cmake and a C compiler for aws-lc, which has the cryptography.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake g++ make \
 && rm -rf /var/lib/apt/lists/*
ARG CARGO_AUDITABLE_VERSION=0.7.7
RUN cargo install cargo-auditable --locked --version "${CARGO_AUDITABLE_VERSION}"
WORKDIR /source
COPY . .
ARG SOURCE_DATE_EPOCH=0
# The names and versions of all crates go into the binary: scanners read them there.
RUN CARGO_TARGET_DIR=/target cargo auditable build --release --locked --package runai-cluster-operator --bins \
 && install -D -m 0755 /target/release/runai-cluster-operator /root-fs/usr/bin/runai-cluster-operator \
 && find /root-fs -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +

# What is laid over the base.
FROM scratch AS files
COPY --from=compiled /root-fs/ /

FROM ${BASE}
COPY --from=files / /
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
# Where the code is, such as https://github.com/OWNER/REPOSITORY.
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="runai-cluster-operator" \
      org.opencontainers.image.description="Kubernetes operator that manages NVIDIA Run:ai cluster registrations declaratively" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}/tree/${REVISION}/docs"
# A number: Kubernetes can tell that it is not root (runAsNonRoot).
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["/usr/bin/runai-cluster-operator"]
CMD ["run"]
