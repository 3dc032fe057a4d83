# The commands of this project. `make run` and `make test` work on a fresh Debian 12 with git, make and
# root or sudo: they install what is missing first.

BUILD ?= build
PRESET ?= release
JOBS ?= $(shell nproc)
DATA ?= data
BUF_VERSION := 1.75.0
# How long `make test-faults` makes faults in all, and over how many seeds.
FAULT_SECONDS ?= 600
FAULT_ROUNDS ?= 6
# How many events `make test-sinks` sends through each broker.
SINK_EVENTS ?= 50000
SOURCES = $(shell git ls-files 'server/*.cc' 'server/*.h' 'client/*.cc' 'client/*.h' \
  'schema/*.h' 'tests/*.cc' 'tests/*.h')

.PHONY: help deps deps-build deps-lint configure build run test test-unit test-faults test-sinks test-asan \
  test-asan-unit test-tsan thread-safety bench bench-outbox bench-readers format lint lint-format lint-proto lint-tidy clean

help:
	@echo "make run          install what is missing, build, start the daemon on an embedded PostgreSQL"
	@echo "make test         install what is missing, build, run every test"
	@echo "make build        leaves $(BUILD)/bin/eventstored and $(BUILD)/bin/eventstorectl"
	@echo "make bench        each workload next to PostgreSQL used directly; a quarter of an hour, one"
	@echo "                  table (BENCH_FLAGS='--quick --rows append64' for a look)"
	@echo "make bench-outbox  what the outbox costs, and how fast it publishes"
	@echo "make bench-readers  what many readers and filters cost (BENCH_FLAGS='--quick' for a look)"
	@echo "make test-faults  ten minutes of killing, freezing and cutting (FAULT_SECONDS, FAULT_ROUNDS)"
	@echo "make test-sinks   events through every broker, with daemons killed and brokers away (SINK_EVENTS)"
	@echo "make test-asan    unit and integration tests under AddressSanitizer and UBSan"
	@echo "make test-tsan    the tests that link no gRPC under ThreadSanitizer"
	@echo "make format       clang-format all sources;  make lint checks format, protos, clang-tidy"

deps:
	@deploy/install-deps.sh test

deps-lint: deps
	@deploy/install-deps.sh lint

configure: deps
	@cmake --preset $(PRESET) -B $(BUILD) > $(BUILD).configure.log 2>&1 || \
	  { cat $(BUILD).configure.log; exit 1; }

build: configure
	cmake --build $(BUILD) --parallel $(JOBS) --target eventstored eventstorectl

run: build
	$(BUILD)/bin/eventstored --data-dir $(DATA)

test: configure
	cmake --build $(BUILD) --parallel $(JOBS)
	cd $(BUILD) && ctest --output-on-failure --no-tests=error

test-unit: configure
	cmake --build $(BUILD) --parallel $(JOBS)
	cd $(BUILD) && ctest --output-on-failure --no-tests=error -L unit

# EVENTSTORE_FAULT_SEED chooses the first round's seed.
test-faults: configure
	cmake --build $(BUILD) --parallel $(JOBS) --target integration_faults
	EVENTSTORE_FAULT_SECONDS=$(FAULT_SECONDS) EVENTSTORE_FAULT_ROUNDS=$(FAULT_ROUNDS) \
	  $(BUILD)/bin/integration_faults

# EVENTSTORE_TEST_SEED chooses what happens; Kafka's mock keeps fewer events.
test-sinks: configure
	cmake --build $(BUILD) --parallel $(JOBS) --target integration_sinks eventstored
	EVENTSTORE_SINK_EVENTS=$(SINK_EVENTS) $(BUILD)/bin/integration_sinks

test-asan: deps
	cmake --preset asan > /dev/null
	cmake --build build-asan --parallel $(JOBS)
	cd build-asan && ctest --output-on-failure --no-tests=error

# The part of it that starts no server.
test-asan-unit: deps
	cmake --preset asan > /dev/null
	cmake --build build-asan --parallel $(JOBS) --target unit_core unit_telemetry unit_pg \
	  unit_tables unit_sinks unit_engine unit_faults unit_rpc unit_process unit_client
	cd build-asan && ctest --output-on-failure --no-tests=error -L unit

test-tsan: deps
	cmake --preset tsan > /dev/null
	cmake --build build-tsan --parallel $(JOBS)
	cd build-tsan && ctest --output-on-failure --no-tests=error

# clang's thread-safety analysis of everything that holds a lock.
thread-safety: deps
	cmake --preset clang-thread-safety > /dev/null
	cmake --build build-clang --parallel $(JOBS) --target eventstore_telemetry eventstore_core \
	  eventstore_pg eventstore_tables eventstore_sinks eventstore_engine

bench: build
	tests/bench/bench.py $(BUILD) $(BENCH_FLAGS)

bench-outbox: build
	cmake --build $(BUILD) --parallel $(JOBS) --target kafka_mock
	tests/bench/outbox.py $(BUILD) $(BENCH_FLAGS)

bench-readers: build
	tests/bench/readers.py $(BUILD) $(BENCH_FLAGS)

format: deps
	clang-format-14 -i $(SOURCES)

lint: lint-format lint-proto thread-safety lint-tidy

lint-format: deps
	clang-format-14 --dry-run --Werror $(SOURCES)

lint-proto: deps-lint $(BUILD)/tools/node_modules/.bin/buf
	cd proto && ../$(BUILD)/tools/node_modules/.bin/buf lint

$(BUILD)/tools/node_modules/.bin/buf:
	@mkdir -p $(BUILD)/tools
	npm install --silent --no-fund --no-audit --prefix $(BUILD)/tools @bufbuild/buf@$(BUF_VERSION)

# Needs a configured build for its compile commands and generated headers.
lint-tidy: build
	@git ls-files 'server/*.cc' 'client/*.cc' | \
	  xargs -P $(JOBS) -n 4 clang-tidy-14 -p $(BUILD) --quiet --warnings-as-errors='*'

clean:
	rm -rf $(BUILD) build-asan build-tsan build-clang build-debug $(BUILD).configure.log
