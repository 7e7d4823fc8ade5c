# make demo and make test need Go, make and a C compiler, nothing else.
GO      ?= go
PREFIX  ?= /usr/local
BIN     := bin
PROGRAMS := smpserver agent coterie
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

.PHONY: build demo test race lint bench soak model mutation fuzz test-openssl install clean

build:
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ $(addprefix ./cmd/,$(PROGRAMS))

# A relay and agents as separate processes on loopback, a real group conversation, shown and checked.
demo: build
	$(BIN)/coterie demo

test:
	$(GO) test ./...

# The race detector on what is concurrent.
race:
	$(GO) test -race ./queue/client/... ./queue/server/... ./queue/store/... ./queue/transport/... ./agent ./agent/store/... ./agent/control/... ./chat/...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'not gofmt-ed'; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags openssl ./queue/transport ./test/relay
	$(GO) tool staticcheck ./...

# Session IDs against the openssl command, both ways (needs openssl 3).
test-openssl:
	$(GO) test -count=1 -tags openssl -run OpenSSL ./queue/transport ./test/relay

bench:
	$(GO) test -run '^$$' -bench . -benchtime=$(or $(BENCHTIME),1s) ./...

# Long campaigns: crashes, simulations, fuzzing. The last result is in docs/soak.md.
soak:
	COTERIE_SOAK=1 $(GO) test -count=1 -timeout 6h ./...
	$(MAKE) model
	$(MAKE) mutation
	$(MAKE) fuzz

# The model of the join, by the model checker spin (docs/join-model.md).
model:
	test/model.sh

# Whether the tests notice deliberate bugs.
mutation:
	$(GO) run ./test/mutation

FUZZTIME ?= 60s
fuzz:
	test/fuzz.sh $(FUZZTIME)

install: build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(addprefix $(BIN)/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin/

clean:
	rm -rf $(BIN)
