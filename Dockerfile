# The command line as an image: one static program, no shell, no root. The function app needs none of this; the Container Apps Job does
# (infra/containerapps), and anybody who likes containers:
#
#   docker build --tag lastfm-archive .
#   docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --env LASTFM_API_KEY \
#     --volume archive:/data lastfm-archive sync rj --archive /data
#
# Bases are pinned by version; Dependabot brings newer ones. A digest is not written down before somebody has seen it.
FROM rust:1.95-alpine AS build
# The C compiler's headers, for the cryptography.
RUN apk add --no-cache musl-dev
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin lastfm-archive \
    # A new volume is owned by whoever owns the folder below it.
    && mkdir /data

FROM gcr.io/distroless/static-debian12:nonroot
# checkov:skip=CKV_DOCKER_2:a command that ends has no health to check
COPY --from=build /source/target/release/lastfm-archive /lastfm-archive
COPY --from=build --chown=65532:65532 /data /data
# The only place that is written to; with a root file system that is only read it stays writable.
VOLUME /data
USER 65532:65532
ENTRYPOINT ["/lastfm-archive"]
CMD ["--help"]
