# llama.cpp's server with its libraries and nothing else, for `make e2e`. The context is the directory that
# `tests.support.engines.llama_server` unpacks Debian's packages into.
FROM scratch
COPY . /
USER 20000:20000
ENTRYPOINT ["/usr/bin/llama-server"]
