# make demo and make test are all that a newcomer needs; the rest is for those
# who work on boothwire.

.PHONY: demo test deps assets build bench fleet matrix pictures soak help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: ## play a service call: ticket, connect, repair, disconnect (no root, only Go)
	go build -o bin/boothwire-demo ./cmd/boothwire-demo
	@./bin/boothwire-demo $(DEMO) # not go run, which fails after Ctrl-C

test: deps ## every check and test; on Debian as root it installs what is missing
	./check.sh

deps: ## install what the end-to-end tests need (Debian, root)
	@./.ci/deps.sh

web := gateway/control/console/web

assets: $(web)/engines/iron/iron.wasm ## fetch the browser engines of the console (npm); they are embedded by the next build

$(web)/engines/iron/iron.wasm: $(web)/assets.mjs $(web)/node_modules/.package-lock.json
	node $<

$(web)/node_modules/.package-lock.json: $(web)/package-lock.json
	cd $(web) && npm ci --ignore-scripts
	@touch $@

build: ## the programs, into bin/
	go build -trimpath -o bin/ ./cmd/...

bench: ## measure; BENCH=regexp picks (each figure: bench NAME VALUE UNIT at-least|at-most|info BAR ok|short)
	@./.ci/deps.sh >&2
	@./.ci/bench.sh '$(value BENCH)'

fleet: deps build ## put ten thousand devices under load, with every part as shipped; the report is fleet/report.html (SCRIPT=storm, burst, steady, ... or a file.toml: another load)
	@mkdir -p fleet
	./bin/boothwire-fleetsim -json fleet/report.json -html fleet/report.html $(or $(SCRIPT),fleet) || [ $$? -eq 3 ] # 3: something that must hold does not

matrix: deps ## measure every pair of networks anew, with the real programs, into docs/NAT.md (root)
	BOOTHWIRE_MATRIX=1 CI=true go test -v -count=1 -timeout 15m -run 'TestMatrix$$' ./internal/e2e

pictures: deps ## play the console's story anew, into docs/console (root)
	BOOTHWIRE_PICTURES=$(CURDIR)/docs/console CI=true go test -v -count=1 -timeout 15m -run 'TestConsole$$' ./internal/e2e

soak: deps ## the long versions of tests (SOAK=regexp picks), then 30 s of every fuzz target
	@./.ci/soak.sh '$(value SOAK)'
	$(if $(value SOAK),,./.ci/fuzz.sh 30s)
