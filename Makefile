# holdfast: `make help` lists the targets.

# One setting of these everywhere: they decide the build cache.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false

.PHONY: help test check lab manifests

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\t\1\t/' | expand -t 4,16

test: packages ## all tests that need no cluster; the first run compiles for about three minutes
	@echo "compiling and testing; the first run takes about three minutes, later ones under one"
	go test ./...

check: ## format and vet, both modules
	test -z "$$(gofmt -l allocator controller deploy layer2 speaker)"
	go vet ./...
	cd deploy/lab && go vet ./...

lab: packages ## build bin/lab, and Kubernetes once: six to eight minutes on two idle cores
	cd deploy/lab && go build -o ../../bin/lab .
	bin/lab build

manifests: ## generate deep copies and CRDs from the API types
	go generate ./controller/api/v1beta1

.PHONY: packages
packages: # install the Debian packages that tests and lab need, or say which are missing
	@missing=; for p in $$(sed -n 's/^\([a-z][^ ]*\).*/\1/p' deploy/lab/cluster/packages.txt); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing:$$missing"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "missing Debian packages:$$missing"; echo "install them: sudo apt-get install$$missing"; exit 1; fi
