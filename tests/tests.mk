# Test rules, included by the top Makefile.

# ---- unit tests: tests/unit/NAME_test.c, cmocka, linked with every archive
UNIT_SOURCES := $(sort $(wildcard tests/unit/*_test.c))
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(O)/tests/unit/%)
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(ARCHIVES) $(MSAN_LIBRARIES)
	$(call say,LINK,$@)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< $(MSAN_LIBRARIES:%.wraps=@%.wraps) -Wl,--start-group $(ARCHIVES) -Wl,--end-group -lcmocka $(LIBS_ALL)
.PRECIOUS: $(O)/tests/unit/%.o $(O)/tests/fuzz/%.o
-include $(UNIT_SOURCES:%.c=$(O)/%.d)

.PHONY: check-unit unit-tests check
unit-tests: $(UNIT_TESTS)
check-unit: $(UNIT_TESTS)
	@NAMES=$(abspath $(O))/names tests/lib/run-unit.sh $(UNIT_TESTS)

# ---- fuzz targets: tests/fuzz/fuzz_NAME.c has LLVMFuzzerTestOneInput.
# Replayed over its corpus with the ordinary compiler by a small driver; `make fuzz` runs libFuzzer.
# Corpus: tests/fuzz/corpus/NAME/*; files ending in .hex are hexadecimal text with # comments.
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAYS := $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=$(O)/tests/fuzz/replay_%)
$(O)/tests/fuzz/replay_%: $(O)/tests/fuzz/fuzz_%.o $(O)/tests/fuzz/replay.o $(ARCHIVES) $(MSAN_LIBRARIES)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< $(O)/tests/fuzz/replay.o $(MSAN_LIBRARIES:%.wraps=@%.wraps) -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ALL)
-include $(FUZZ_SOURCES:%.c=$(O)/%.d) $(O)/tests/tools/wspeer.d

.PHONY: check-corpus
unit-tests: $(FUZZ_REPLAYS)
check-corpus: $(FUZZ_REPLAYS)
	@tests/lib/run-corpus.sh $(FUZZ_REPLAYS)

# ---- reads of what was never written: tests/lib/run-memory.sh, tests/memory-exceptions; BESIDE=1: what fails for its time
# is judged by the next run, which takes what has passed
.PHONY: check-valgrind check-msan memory-programs
memory-programs: $(UNIT_TESTS) $(FUZZ_REPLAYS) $(O)/tools/unset
$(O)/tools/unset: $(O)/tests/tools/unset.o $(MSAN_LIBRARIES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< $(MSAN_LIBRARIES:%.wraps=@%.wraps) $(LIBS_ALL)
-include $(O)/tests/tools/unset.d $(O)/tests/tools/msan.d
check-valgrind: memory-programs
	@tests/lib/need-packages.sh valgrind
	@tests/lib/run-memory.sh valgrind $(O)
check-msan:
	@tests/lib/need-packages.sh $(PACKAGES_BUILD) libcmocka-dev clang-16 libclang-rt-16-dev
	@$(MAKE) -s $(JOBS) --no-print-directory O=$(O)/msan CC=$(CLANG) SAN=memory memory-programs
	@tests/lib/run-memory.sh msan $(O)/msan
# the libraries are not instrumented: tests/tools/msan.c answers for them, by the linker's --wrap
$(O)/tests/tools/msan.o: CFLAGS += -fno-sanitize=all -fvisibility=default
$(O)/tests/tools/msan.wraps: $(O)/tests/tools/msan.o
	nm $< | sed -n 's/.* T __wrap_/-Wl,--wrap=/p' >$@

# libFuzzer builds live in their own folder, every object instrumented
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=%)
FUZZ_JOBS ?=
.PHONY: archives fuzz fuzz-programs fuzz-run $(addprefix fuzz-,$(FUZZ_TARGETS))
archives: $(ARCHIVES)
FUZZ_BUILD = O=$(O)/fuzz CC=$(CLANG) SAN=address,undefined CFLAGS='-fsanitize=fuzzer-no-link $(CFLAGS)'
fuzz:
	@$(MAKE) --no-print-directory $(FUZZ_BUILD) fuzz-programs
	@$(MAKE) --no-print-directory O=$(O)/fuzz fuzz-run
# FUZZ_SECONDS for all targets together, in turn; FUZZ_KEPT grows from run to run and says what was found
FUZZ_KEPT ?= $(O)/fuzz/kept
.PHONY: fuzz-build fuzz-long
fuzz-build:
	@$(MAKE) -s $(JOBS) --no-print-directory $(FUZZ_BUILD) fuzz-programs
fuzz-build-%:
	@$(MAKE) -s --no-print-directory $(FUZZ_BUILD) $(O)/fuzz/fuzzer_$*
fuzz-long: fuzz-build
	@$(PYTHON) tests/lib/fuzz_long.py $(O)/fuzz $(FUZZ_KEPT) $(FUZZ_SECONDS) $(or $(FUZZ_JOBS),$(shell nproc))
fuzz-programs: $(addprefix $(O)/fuzzer_,$(FUZZ_TARGETS))
$(O)/fuzzer_%: $(O)/tests/fuzz/fuzz_%.o $(ARCHIVES)
	$(CC) $(CFLAGS) -fsanitize=fuzzer $(HARDEN_LD) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ALL)
fuzz-run: $(addprefix fuzz-,$(FUZZ_TARGETS))
$(addprefix fuzz-,$(FUZZ_TARGETS)): fuzz-%:
	@$(PYTHON) tests/lib/fuzz.py $(O)/fuzzer_$* $* $(FUZZ_SECONDS)

# What is reached by the corpora (for each parser, tests/fuzz/parsers; what they do not: tests/fuzz/unreached), by the
# unit tests, and by the real processes in some of the system tests.  One build serves all three: the processes' counters
# lie in files that each maps when it begins, for in its sandbox it could write none at its end; the others are told where
# theirs go.  COVERAGE_TESTS='tests/system/apply.t ...' takes other tests; coverage-system takes all of them.
COVERAGE := $(abspath $(O))/coverage
COVERAGE_TESTS ?= $(patsubst %,tests/system/%.t,apply connect daemon generic link link_output rogue secrets settings)
.PHONY: coverage coverage-build coverage-system
coverage-build:
	@$(MAKE) -s $(JOBS) --no-print-directory O=$(O)/coverage CC=$(CLANG) HARDEN= OPT=-O1 CFLAGS='-fcoverage-mapping \
		-fprofile-instr-generate=$(COVERAGE)/profiles/%m%c.profraw -mllvm -runtime-counter-relocation=true' \
		all unit-tests test-tools
	@rm -rf $(COVERAGE)/profiles && mkdir -m 1777 $(COVERAGE)/profiles
	@umask 0; for p in $(ALL_PROGRAMS); do $(COVERAGE)/$$p -V </dev/null >/dev/null 2>&1 || true; done # files that each user may write
coverage: coverage-build
	-@O=$(COVERAGE) RESULTS= NAMES= tests/lib/run-tap.sh $(COVERAGE_TESTS)
	-@O=$(COVERAGE) ONLY=ID-01 tests/system/protocol.t >/dev/null # a uid that the server gives
	-@O=$(COVERAGE) ONLY="user's netd taken over, to parent" tests/system/taken.t >/dev/null # all that netd may say
	@$(PYTHON) tests/lib/coverage.py $(COVERAGE) --unit --system
coverage-system:
	@$(MAKE) --no-print-directory coverage COVERAGE_TESTS='$(SYSTEM_TESTS)'

# ten million messages to the handlers of every process, with every row of the table taken at least once
MESSAGE_FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*_messages.c))
MESSAGES ?= 10000000
.PHONY: fuzz-messages fuzz-messages-programs
fuzz-messages:
	@$(MAKE) --no-print-directory O=$(O)/fuzz CC=$(CLANG) SAN=address,undefined \
		CFLAGS='-fsanitize=fuzzer-no-link $(CFLAGS)' fuzz-messages-programs
	@$(PYTHON) tests/lib/fuzz-messages.py $(O)/fuzz $(MESSAGES) $(MESSAGE_FUZZERS)
fuzz-messages-programs: $(addprefix $(O)/fuzzer_,$(MESSAGE_FUZZERS))

# as many jobs as there are processors, unless the caller said
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
check:
	@$(MAKE) --no-print-directory deps-check
	@echo "Building opampd, its unit tests and test tools into $(O)/ (with $(CC))"
	@$(MAKE) -s $(JOBS) --no-print-directory all unit-tests test-tools
	@echo "Running the unit tests, the fuzz corpus and the system tests (the last take some minutes; a failure is shown whole)"
	@$(MAKE) --no-print-directory check-unit
	@$(MAKE) --no-print-directory check-corpus
	@$(MAKE) --no-print-directory check-system
	@$(MAKE) --no-print-directory conformance

# ---- system tests: programs that print TAP, run by prove against the build
# fakeagent stands in for a Collector; the scripted server needs OpAMP's messages for Python
# wspeer is wire/ws.c on a connection, for other implementations to talk to
TEST_TOOLS := $(O)/tools/fakeagent $(O)/tools/fakeagent2 $(O)/tools/policy $(O)/tools/wspeer $(O)/tools/rogue $(O)/gen/python/opamp/v1/opamp_pb2.py
$(O)/tools/wspeer: $(O)/tests/tools/wspeer.o $(ARCHIVES_netd)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< $(ARCHIVES_netd) $(LIBS_opampd-link)
$(O)/tools/fakeagent $(O)/tools/fakeagent2: $(O)/tools/%: tests/tools/fakeagent.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(if $(filter %2,$*),-DFAKE_VERSION='"2.0.0"') -std=gnu11 -g -O2 $(WARN) -o $@ $<
# domain tries what a SELinux domain must not allow (make check-vm); static, so that it needs nothing of the domain's
$(O)/tools/domain: tests/tools/domain.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -g -O2 $(WARN) -static -o $@ $<
# rogue stands in for a daemon that was taken over
$(O)/tools/rogue: $(O)/tests/tools/rogue.o $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_EVENT) $(LIBS_SANDBOX)
-include $(O)/tests/tools/rogue.d
# relay stands in for a process and hands its place to a test; hasten tells where the parent's patience is; between
# stands in for a program until it has done what a test wants to happen in that moment
TEST_TOOLS += $(O)/tools/relay $(O)/tools/hasten $(O)/tools/between
$(O)/tools/between: $(O)/tests/tools/between.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^
$(O)/tools/relay: $(O)/tests/tools/relay.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^
$(O)/tools/hasten: $(O)/tests/tools/hasten.o $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_EVENT) $(LIBS_SANDBOX)
-include $(O)/tests/tools/relay.d $(O)/tests/tools/hasten.d $(O)/tests/tools/between.d
$(O)/tools/policy: tests/tools/policy.c $(O)/libhub.a $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_OURS) $(CFLAGS_OURS) $(CPPFLAGS) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< $(O)/libhub.a $(O)/libprivsep.a $(LIBS_EVENT) $(LIBS_SANDBOX)
$(O)/gen/python/opamp/v1/opamp_pb2.py: proto/opamp/v1/opamp.proto proto/opamp/v1/anyvalue.proto
	@mkdir -p $(O)/gen/python
	protoc -Iproto --python_out=$(O)/gen/python opamp/v1/opamp.proto opamp/v1/anyvalue.proto
# confd's store, killed and failed at each of its system calls
TEST_TOOLS += $(O)/tools/storedrive
STOREDRIVE := $(patsubst %,$(O)/tests/tools/%.o,storedrive stepper image)
$(O)/tools/storedrive: $(STOREDRIVE) $(O)/libconfd.a $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $(STOREDRIVE) $(O)/libconfd.a $(O)/libprivsep.a $(LIBS_EVENT) $(LIBS_SANDBOX)
-include $(STOREDRIVE:.o=.d)
# the opampd that an upgrade brings: the same, with another version's number where it is told
TEST_TOOLS += $(O)/next/opampd $(O)/next/opampd-confd
NEXT := $(patsubst %,$(O)/next/%.o,privsep/opampd confd/control)
$(NEXT): $(O)/next/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_OURS) -UOPAMPD_VERSION -DOPAMPD_VERSION='"$(VERSION).next"' $(CFLAGS_OURS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
-include $(NEXT:.o=.d)
$(O)/next/opampd: $(O)/next/privsep/opampd.o $(ARCHIVES_privsep)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_opampd)
$(O)/next/opampd-confd: $(O)/confd/confd.o $(O)/next/confd/control.o $(ARCHIVES_confd)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_opampd-confd)
# the whole apply transaction likewise
TEST_TOOLS += $(O)/tools/applydrive
APPLYDRIVE := $(patsubst %,$(O)/tests/tools/%.o,applydrive stepper image)
$(O)/tools/applydrive: $(APPLYDRIVE) $(O)/libconfd.a $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $(APPLYDRIVE) $(O)/libconfd.a $(O)/libprivsep.a $(LIBS_EVENT) $(LIBS_SANDBOX)
-include $(O)/tests/tools/applydrive.d
# system calls put into live processes, as by somebody who took them over
ifneq ($(filter x86_64-%,$(shell $(CC) -dumpmachine 2>/dev/null)),)
TEST_TOOLS += $(O)/tools/inject $(O)/tools/faults
endif
INJECT := $(patsubst %,$(O)/tests/tools/%.o,inject inject_calls inject_catch)
$(O)/tools/inject: $(INJECT)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $(INJECT) $(LIBS_SANDBOX)
-include $(INJECT:.o=.d)
# faults in the system calls of live processes, and what they do to files
FAULTS := $(patsubst %,$(O)/tests/tools/%.o,faults faults_record)
$(O)/tools/faults: $(FAULTS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $(FAULTS) $(LIBS_SANDBOX)
-include $(FAULTS:.o=.d)
# what a start finds in a state directory
TEST_TOOLS += $(O)/tools/storelook
$(O)/tools/storelook: $(O)/tests/tools/storelook.o $(O)/libconfd.a $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_EVENT) $(LIBS_SANDBOX)
-include $(O)/tests/tools/storelook.d
# the same of opamphub's store
TEST_TOOLS += $(O)/tools/hublook
$(O)/tools/hublook: $(O)/tests/tools/hublook.o $(O)/libhub.a $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_EVENT) $(LIBS_SQLITE) $(LIBS_SSL) $(LIBS_JSON) $(LIBS_SANDBOX)
-include $(O)/tests/tools/hublook.d
# which system calls the processes make (RECORD=DIR, tests/lib/recorder.py)
TEST_TOOLS += $(O)/tools/record
$(O)/tools/record: $(O)/tests/tools/record.o $(O)/libhub.a $(O)/libprivsep.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_EVENT) $(LIBS_SANDBOX)
-include $(O)/tests/tools/record.d
SYSTEM_TESTS := $(sort $(wildcard tests/system/*.t tests/sandbox/*.t))
LONG_TESTS := $(patsubst %,tests/system/%.t,apply_crash apply protocol deaths taken idle netd)
.PHONY: test-tools check-system
test-tools: $(TEST_TOOLS)
check-system: all test-tools doc
	@O=$(abspath $(O)) NAMES=$(abspath $(O))/names TAP_ALONE=tests/system/install.t TAP_FIRST='$(LONG_TESTS)' tests/lib/run-tap.sh $(SYSTEM_TESTS)
# doc/sandbox-compared.md's figures; RECORDS=DIR: what was recorded by RECORD=DIR, else nothing is seen
.PHONY: sandbox-figures
sandbox-figures: all test-tools
	@O=$(abspath $(O)) tests/lib/lists.py $(RECORDS)
# what the processes call in tests that reach most of it, as whoever runs this and of whichever build, beside their lists
# (CC=clang-16 O=build-clang make record; an ordinary user makes and runs it in a tree of his own): what is strange is said
.PHONY: record
record: all test-tools
	@rm -rf $(O)/records && mkdir -m 1777 $(O)/records
	-@RECORD=$(abspath $(O))/records O=$(abspath $(O)) tests/lib/run-tap.sh $(addprefix tests/system/,kernel.t connect.t secrets.t daemon.t hub.t)
	@VERBOSE=1 O=$(abspath $(O)) tests/lib/lists.py $(O)/records
# the long proofs: what make check shows in samples or takes for granted, shown whole
PROOF_TESTS := $(sort $(wildcard tests/proof/*.t))
LONG_PROOFS := $(patsubst %,tests/proof/%.t,coverage faults guest planted peers prison)
.PHONY: check-proof
check-proof: deps-proof all test-tools
	@O=$(abspath $(O)) SUITE=proof TAP_FIRST='$(LONG_PROOFS)' tests/lib/run-tap.sh $(PROOF_TESTS)
# the disk's part of it with every fault at every system call of confd (WORKERS=N at a time): half an hour and more
.PHONY: check-disk
check-disk: all test-tools
	@O=$(abspath $(O)) FULL=1 tests/proof/faults.t
# the built packages on a booted system with SELinux enforcing: tests/vm.  What the guest is made of is kept in build/vm;
# the report is build/vm/report.  Takes the packages of make deb, or makes them.
VM_TOOLS := $(addprefix $(O)/tools/,fakeagent inject policy domain) $(O)/gen/python/opamp/v1/opamp_pb2.py
.PHONY: check-vm deps-vm
define in_guest # program, seconds that it may take, report
	@[ "$$(cat $(DEB)/commit 2>/dev/null)" = "$$(git rev-parse HEAD)" ] || $(MAKE) --no-print-directory deb
	@O=$(abspath $(O)) SUITE=$(1) TAP_ONCE=1 TAP_LIMIT=$(2) tests/lib/run-tap.sh tests/vm/$(1).t; status=$$?; \
		cat $(O)/vm/$(3); exit $$status
endef
check-vm: deps-vm $(VM_TOOLS) $(O)/selinux/opampd.pp
	$(call in_guest,vm,2400,report)
# the same packages on the same system with AppArmor
.PHONY: check-vm-apparmor
check-vm-apparmor: deps-vm $(VM_TOOLS)
	$(call in_guest,apparmor,1500,report-apparmor)
# tests/conformance.md: which test proves which requirement; it is an error if one of the spine has none
.PHONY: conformance
conformance:
	@tests/lib/conformance.py $(O)/names tests/conformance.rows tests/conformance.md --check

# ---- spelling of all text in the tree; tests/spelling.words are no mistakes (mdoc's requests, bytes of tests, names of fields)
.PHONY: spelling
spelling:
	@tests/lib/need-packages.sh codespell
	@git ls-files -z | grep -zvE '^tests/fuzz/corpus/|^tests/spelling.words$$|\.png$$|/go\.sum$$|package-lock\.json$$' | xargs -0 codespell -I tests/spelling.words

# ---- what other programs find in the sources
.PHONY: clang-tidy pyflakes
clang-tidy: $(GEN_H)
	@tests/lib/need-packages.sh clang-tidy-16
	@tests/lib/clang-tidy.sh $(O) $(SOURCES)
# Python by its name or by its first line: some tests are programs in another language
pyflakes:
	@tests/lib/need-packages.sh pyflakes3
	@git ls-files -z '*.py' '*.t' | xargs -0 grep -lZE -m 1 '^#!/usr/bin/python3|^"""|^import |^from ' | xargs -0 pyflakes3

# ---- interoperability: a real Collector and a server on the reference library, both built by Go
# (OTELCOL_BINARY=PROGRAM takes a Collector that is there)
INTEROP_TESTS := $(sort $(wildcard tests/interop/*.t))
INTEROP_TOOLS := $(O)/interop/otelcol $(O)/interop/server $(O)/interop/client $(O)/interop/clients/installed \
	$(O)/bench/opampsupervisor
$(O)/interop/otelcol: tests/interop/otelcol-builder.yaml tests/interop/build-collector.sh
	tests/interop/build-collector.sh $@
$(O)/interop/server: $(wildcard tests/interop/server/*.go tests/interop/server/go.*)
	@mkdir -p $(@D)
	cd tests/interop/server && CGO_ENABLED=0 go build -o $(abspath $@) .
$(O)/interop/client: $(wildcard tests/interop/server/client/*.go tests/interop/server/go.*)
	@mkdir -p $(@D)
	cd tests/interop/server && CGO_ENABLED=0 go build -o $(abspath $@) ./client
# clients of others, by pip and npm as this machine has them set up, versions and hashes in tests/interop/clients
PACKAGES_INTEROP := python3 python3-venv nodejs chromium $(if $(shell command -v npm 2>/dev/null),,npm)
.PHONY: deps-interop
deps-interop: deps-check
	@tests/lib/need-packages.sh $(PACKAGES_INTEROP)
$(O)/interop/clients/installed: tests/interop/build-clients.sh $(wildcard tests/interop/clients/*.txt tests/interop/clients/*.json) | deps-interop
	tests/interop/build-clients.sh $(@D)
.PHONY: interop-tools check-interop demo
interop-tools: $(INTEROP_TOOLS)
check-interop: deps-interop all test-tools interop-tools
	@O=$(abspath $(O)) SUITE=interop tests/lib/run-tap.sh $(INTEROP_TESTS)
# the walkthrough, shown: DEMO=check runs it without waiting for anybody.  The agent is $OTELCOL_BINARY, a
# Collector on the path, or one built where Go is; without them prometheus-node-exporter.
comma := ,
GO := $(shell command -v go 2>/dev/null)
DEMO_COLLECTOR := $(or $(OTELCOL_BINARY),$(shell command -v otelcol otelcol-contrib 2>/dev/null | head -n 1))
DEMO_TOOLS := $(if $(GO)$(DEMO_COLLECTOR),$(O)/interop/otelcol)
.PHONY: demo-tools
demo-tools: all $(O)/gen/python/opamp/v1/opamp_pb2.py $(DEMO_TOOLS)
demo:
	@tests/lib/need-packages.sh $(PACKAGES_BUILD) $(PACKAGES_DEMO)
	@echo "Building opampd into $(O)/ (with $(CC))$(if $(DEMO_COLLECTOR),,$(if $(GO), and$(comma) with Go$(comma) a Collector: minutes the first time))"
	@OTELCOL_BINARY=$(DEMO_COLLECTOR) $(MAKE) -s $(JOBS) --no-print-directory demo-tools
	@O=$(abspath $(O)) DEMO=$(DEMO) $(PYTHON) tests/interop/demo.py

# ---- what it costs, beside the OpenTelemetry Collector's own supervisor: doc/performance.md.
# Needs Go.  BENCH=short: in a few minutes, and without the document
PACKAGES_BENCH := python3 python3-protobuf python3-websockets openssl ca-certificates iproute2 procps strace util-linux
$(O)/bench/fleet: $(O)/tests/bench/fleet.o $(O)/libproto.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_PB)
-include $(O)/tests/bench/fleet.d
$(O)/bench/opampsupervisor: tests/bench/build-supervisor.sh
	tests/bench/build-supervisor.sh $@
.PHONY: bench-tools bench bench-hub
bench-tools: all test-tools $(O)/interop/otelcol $(O)/interop/server $(O)/bench/opampsupervisor
bench:
	@tests/lib/need-packages.sh $(PACKAGES_BUILD) $(PACKAGES_BENCH)
	@echo "Building opampd, and with Go a Collector, a server and opampsupervisor, into $(O)/ (minutes the first time)"
	@$(MAKE) -s $(JOBS) --no-print-directory bench-tools
	@echo "Measuring: $(if $(filter short,$(BENCH)),about four minutes,about 25 minutes; nothing else should run on this machine)"
	@O=$(abspath $(O)) BENCH=$(BENCH) $(PYTHON) tests/bench/bench.py
	$(if $(filter short,$(BENCH)),@$(MAKE) --no-print-directory bench-hub)
# opamphub with thousands of agents, beside the least server on the Go reference library: doc/performance-hub.md
bench-hub:
	@tests/lib/need-packages.sh $(PACKAGES_BUILD) python3 python3-protobuf $(if $(filter short,$(BENCH)),,chromium)
	@$(MAKE) -s $(JOBS) --no-print-directory all test-tools $(O)/bench/fleet $(O)/interop/server
	@echo "Measuring opamphub: $(if $(filter short,$(BENCH)),about half a minute,about five minutes; nothing else should run on this machine)"
	@O=$(abspath $(O)) BENCH=$(BENCH) $(PYTHON) tests/bench/hub.py
