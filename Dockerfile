# The image is the binary that `make bin/holdfast` links, on nothing.
FROM scratch
COPY bin/holdfast /holdfast
ENTRYPOINT ["/holdfast"]
