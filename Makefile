# holdfast: `make help` lists the targets.

# One setting of these everywhere: they decide the build cache.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
IMAGE ?= holdfast:dev

GO_DIRS := allocator bgp cmd controller deploy layer2 speaker
LAB_PARTS := ./cluster ./demo ./echo ./probe ./scenarios ./script ./witness # the rest is tested by e2e
# New flows a second to each port of each address.
RATE ?= 1000
# What e2e does about series; --short: a twentieth of all that takes long, series too.
LONG ?= --skip series
# What containerlab checks; all topologies if none is named.
TOPOLOGIES ?=
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help demo test check lab e2e series containerlab bench image manifests

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\t\1\t/' | expand -t 4,16

demo: lab bin/holdfast.tar ## watch two Services keep one address in a real cluster; a minute, once built
	bin/lab demo

test: packages ## all tests that need no cluster; the first run compiles for about three minutes
	@echo "compiling and testing; the first run takes about three minutes, later ones under one"
	go test ./...
	cd deploy/lab && go test $(LAB_PARTS)
	cd deploy/containerlab && go test .

check: ## format, vet, staticcheck, layers, and whether generated files are up to date; all modules
	@unformatted=$$(gofmt -l $(GO_DIRS)); [ -z "$$unformatted" ] || { echo "not formatted: $$unformatted"; exit 1; }
	go vet ./... && cd deploy/lab && go vet ./... && cd ../containerlab && go vet ./...
	$(STATICCHECK) ./... && cd deploy/lab && $(STATICCHECK) ./... && cd ../containerlab && $(STATICCHECK) ./...
	go test -count=1 -run Layer ./cmd/holdfast
	@was=$$(mktemp -d) && cp -r deploy/crds controller/api "$$was" && $(MAKE) --no-print-directory manifests && \
	diff -r deploy/crds "$$was/crds" && diff -r controller/api "$$was/api" && rm -r "$$was" || \
	{ echo "generated files were out of date: commit what make manifests made"; exit 1; }

e2e: lab bin/holdfast.tar ## all scenarios in a real cluster with kube-proxy nftables, a slice with iptables; half an hour, once built
	cd deploy/lab && go test -count=1 -p 1 . ./apitest
	bin/lab run --rate $(RATE) --proxy nftables $(LONG)
	bin/lab run --rate $(RATE) --proxy iptables --only slice

series: lab bin/holdfast.tar ## owners that die, planned changes, false alarms: dozens of times each; more than two hours
	bin/lab run --rate $(RATE) --only series

containerlab: MORE_PACKAGES = $(if $(shell command -v dockerd),$(if $(shell command -v docker),,docker-cli),docker.io)
containerlab: packages bin/clab bin/holdfast.tar ## topologies with FRR and BIRD: up, checked, down; two minutes, once built
	bin/clab check $(TOPOLOGIES)

bench: lab bin/holdfast.tar ## speed and memory, beside what they are measured against; ten minutes
	go test -run '^$$' -bench . -benchmem ./allocator ./bgp ./bgp/bfd ./controller ./layer2 ./speaker
	cd deploy/lab && go test -run '^$$' -bench . -benchtime 1x .

lab: packages bin/lab ## build bin/lab, and Kubernetes once: six to eight minutes on two idle cores
	bin/lab build

image: bin/holdfast ## make the container image $(IMAGE) with the Docker on this machine, or bin/holdfast.tar without one
	@touch -d @0 bin/holdfast # the same binary makes the same image
	@if docker info >/dev/null 2>&1; then SOURCE_DATE_EPOCH=0 docker build -q --build-arg SOURCE_DATE_EPOCH=0 -t $(IMAGE) .; \
	else echo "no Docker answers: writing an OCI archive instead"; $(MAKE) --no-print-directory bin/holdfast.tar; fi

manifests: ## generate deep copies and CRDs from the API types
	go generate ./controller/api/v1beta1

.PHONY: packages FORCE
bin/holdfast: FORCE
	@go build -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/holdfast

bin/holdfast.tar: bin/holdfast
	@go run ./deploy/image/ociimage -o $@ -name lab.local/holdfast:dev -entrypoint /holdfast /holdfast=bin/holdfast

bin/lab: FORCE
	@cd deploy/lab && go build -o ../../bin/lab .

bin/clab: FORCE
	@cd deploy/containerlab && go build -o ../../bin/clab .

packages: # install the Debian packages that tests and lab need, or say which are missing
	@missing=; for p in $$(sed -n 's/^\([a-z][^ ]*\).*/\1/p' deploy/lab/cluster/packages.txt) $(MORE_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing:$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "missing Debian packages:$$missing"; echo "install them: sudo apt-get install$$missing"; exit 1; fi
