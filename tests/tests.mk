# Test rules, included by the top Makefile.

# ---- unit tests: tests/unit/NAME_test.c, cmocka, linked with every archive
UNIT_SOURCES := $(sort $(wildcard tests/unit/*_test.c))
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(O)/tests/unit/%)
$(O)/tests/unit/%: $(O)/tests/unit/%.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group -lcmocka $(LIBS_ALL)
.PRECIOUS: $(O)/tests/unit/%.o $(O)/tests/fuzz/%.o
-include $(UNIT_SOURCES:%.c=$(O)/%.d)

.PHONY: check-unit
check-unit: $(UNIT_TESTS)
	@tests/lib/run-unit.sh $(UNIT_TESTS)

# ---- fuzz targets: tests/fuzz/fuzz_NAME.c has LLVMFuzzerTestOneInput.
# Replayed over its corpus with the ordinary compiler by a small driver; `make fuzz` runs libFuzzer.
# Corpus: tests/fuzz/corpus/NAME/*; files ending in .hex are hexadecimal text with # comments.
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAYS := $(FUZZ_SOURCES:tests/fuzz/fuzz_%.c=$(O)/tests/fuzz/replay_%)
$(O)/tests/fuzz/replay_%: $(O)/tests/fuzz/fuzz_%.o $(O)/tests/fuzz/replay.o $(ARCHIVES)
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $< $(O)/tests/fuzz/replay.o -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ALL)
-include $(FUZZ_SOURCES:%.c=$(O)/%.d)
