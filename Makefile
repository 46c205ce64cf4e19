# opampd: one GNU Makefile.
#
#   make                 build everything into build/ (or O=DIR)
#   make check           install what is needed, build, run the tests
#   make demo            install what is needed, build, show it at work; DEMO=check does not wait for you
#   make V=1             the same, each command shown
#   make check-vm        the built packages on a booted system with SELinux enforcing (tests/vm)
#   make check-vm-apparmor   the same with AppArmor, which is Debian's default; check-apparmor: its profiles compile
#   make check-proof     the long proofs (tests/proof)
#   make bench           what opampd costs, measured beside opampsupervisor; BENCH=short in minutes
#   make bench-hub       what opamphub costs with thousands of agents, beside a server on opamp-go
#   make sandbox-figures   how many calls each process may make, and made (RECORDS=DIR, see tests/lib/recorder.py)
#   make fuzz            every fuzz target, FUZZ_SECONDS each (clang)
#   make fuzz-long       all of them in turn for FUZZ_SECONDS=7200, what is found kept and made small
#   make coverage        what fuzz corpora, unit tests and some system tests reach; coverage-system: all of these
#   make fuzz-messages   ten million messages between our processes (clang); MESSAGES=NUMBER
#   make doc             man pages and documents, into build/doc
#   make check-msan      MemorySanitizer over the unit tests and fuzz corpora (clang); make check-valgrind
#   make spelling        codespell over the tree
#   make clang-tidy      clang-tidy over the sources (.clang-tidy); make pyflakes over the tests' Python
#   make selinux         the SELinux policy module, into build/selinux
#   make install         into DESTDIR, PREFIX (/usr/local), SYSCONFDIR (/etc); make uninstall
#   make install-systemd   the same, and units, users and directories for systemd; install-selinux: the module
#   make deb             Debian packages of what is committed, into build/deb; make check-deb looks at them
#   make rpm             RPM packages, into build/rpm; make check-rpm looks at them
#
# CC=gcc or CC=clang; SAN=address,undefined for a sanitized build; WERROR=1 as CI has it.

SHELL := /bin/bash
# V=1 shows every command whole
ifeq ($(V),)
.SILENT:
say = @echo "  $(1)	$(2)"
else
say = @:
endif
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

O       ?= build
# one name for one folder, however it was given: the dependency files name it too
override O := $(patsubst $(CURDIR)/%,%,$(abspath $(O)))
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
BINDIR  ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec/opampd
MANDIR  ?= $(PREFIX)/share/man
DOCDIR  ?= $(PREFIX)/share/doc/opampd
SYSCONFDIR ?= /etc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG   ?= clang-16
PROTOC_C ?= protoc-c
PYTHON  ?= /usr/bin/python3
VERSION := 0.1.0

PACKAGES_BUILD := build-essential pkg-config libevent-dev libprotobuf-c-dev protobuf-c-compiler \
	protobuf-compiler libyaml-dev libssl-dev libseccomp-dev libwslay-dev libcap-ng-dev \
	libjansson-dev libsqlite3-dev zlib1g-dev python3 linux-libc-dev
PACKAGES_CHECK := chromium libcmocka-dev clang-16 libclang-rt-16-dev llvm-16 perl python3 \
	python3-websockets python3-protobuf openssl iproute2 procps strace util-linux xxd patch mandoc \
	jq curl prometheus-node-exporter rsyslog systemd

PACKAGES_DEB := bzip2 debhelper dh-apparmor dpkg-dev git libcmocka-dev selinux-policy-dev
PACKAGES_CHECK_DEB := blhc devscripts iproute2 lintian mmdebstrap util-linux
PACKAGES_RPM := bzip2 cpio file git rpm rpm2cpio selinux-policy-dev
PACKAGES_CHECK_RPM := busybox-static devscripts rpmlint systemd
PACKAGES_PROOF := qemu-system-x86 busybox-static cpio xz-utils
PACKAGES_VM := qemu-system-x86 busybox-static cpio xz-utils mmdebstrap e2fsprogs policycoreutils selinux-policy-dev \
	libc6-dev perl python3
PACKAGES_SELINUX := selinux-policy-dev selinux-policy-default policycoreutils setools selint selinux-policy-src zstd
PACKAGES_APPARMOR := apparmor
PACKAGES_DEMO := python3 python3-websockets python3-protobuf iproute2 procps prometheus-node-exporter

# ---- flags: ours first, the user's CFLAGS and LDFLAGS last
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wformat=2 -Wmissing-prototypes \
	-Wpointer-arith -Wwrite-strings -Werror=format-security -Werror=implicit-function-declaration
ifneq ($(WERROR),)
WARN += -Werror
endif
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
	-ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr -fno-strict-overflow -fPIE -fvisibility=hidden
HARDEN_LD := -fPIE -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed
# small: what nothing refers to is left out, relative relocations are packed (glibc 2.36 reads that), and no
# tables for exceptions, which C has none of: a debugger has its own in what strip takes away
SMALL := -ffunction-sections -fdata-sections -fno-unwind-tables $(if $(SAN),,-fno-asynchronous-unwind-tables)
HARDEN_LD += -Wl,--gc-sections -Wl,-z,pack-relative-relocs
ifeq ($(SAN),)
# small is quick enough, but for what goes over megabytes
OPT := -Os -D_FORTIFY_SOURCE=3
FAST_FILES := confd/yaml% confd/expansion.c confd/store_codec.c wire/wire.c wire/ws.c
else
OPT := -O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all -DOPAMPD_SANITIZED
HARDEN_LD += -fsanitize=$(SAN)
endif
# what the compiler sets to zero could not be found unset; tests/tools/msan.c answers for the libraries
ifneq ($(filter memory,$(SAN)),)
HARDEN := $(filter-out -ftrivial-auto-var-init=%,$(HARDEN)) -fsanitize-memory-track-origins
MSAN_LIBRARIES := $(O)/tests/tools/msan.o $(O)/tests/tools/msan.wraps
endif
MAP := -ffile-prefix-map=$(CURDIR)=.

pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)
CFLAGS_EVENT := $(call pkg,--cflags,libevent_core)
LIBS_EVENT   := $(call pkg,--libs,libevent_core)
LIBS_EVENT_SSL := $(if $(LIBS_EVENT),-levent_openssl $(LIBS_EVENT))
LIBS_PB      := $(call pkg,--libs,libprotobuf-c)
LIBS_YAML    := $(call pkg,--libs,yaml-0.1)
LIBS_SSL     := $(call pkg,--libs,libssl libcrypto)
# Debian has no .pc file for libwslay
LIBS_WSLAY   := -lwslay
LIBS_SANDBOX := $(call pkg,--libs,libseccomp) -lcap-ng
LIBS_JSON    := $(call pkg,--libs,jansson)
LIBS_SQLITE  := $(call pkg,--libs,sqlite3)
LIBS_ZLIB    := $(call pkg,--libs,zlib)

CPPFLAGS_OURS := -D_GNU_SOURCE -DOPAMPD_VERSION='"$(VERSION)"' -DOPAMPD_LIBEXECDIR='"$(LIBEXECDIR)"' \
	-DOPAMPD_SYSCONFDIR='"$(SYSCONFDIR)"' -I. -I$(O)/gen
CFLAGS_OURS := -std=gnu11 -g $(OPT) $(WARN) $(HARDEN) $(SMALL) $(MAP) $(CFLAGS_EVENT)

# ---- sources: NAME_main is the file with main(); everything else of a folder goes into its archive
ALL_PROGRAMS := opampd opampd-netd opampd-connect opampd-link opampd-confd opampd-merge opampd-procd opampctl \
	opamphub opamphub-front opamphub-store
MAIN_opampd         := privsep/opampd.c
MAIN_opampd-netd    := netd/netd.c
MAIN_opampd-connect := netd/connect.c
MAIN_opampd-link    := netd/link.c
MAIN_opampd-confd   := confd/confd.c
MAIN_opampd-merge   := confd/merge.c
MAIN_opampd-procd   := procd/procd.c
MAIN_opampctl       := ctl/opampctl.c
MAIN_opamphub       := hub/opamphub.c
MAIN_opamphub-front := hub/front.c
MAIN_opamphub-store := hub/storeproc.c
PROGRAMS := $(foreach p,$(ALL_PROGRAMS),$(if $(wildcard $(MAIN_$(p))),$(p)))
LIBS_opampd         := $(LIBS_EVENT) $(LIBS_SANDBOX)
LIBS_opampd-netd    := $(LIBS_EVENT_SSL) $(LIBS_PB) $(LIBS_WSLAY) $(LIBS_SSL) $(LIBS_SANDBOX)
LIBS_opampd-connect := $(LIBS_EVENT) $(LIBS_SANDBOX)
LIBS_opampd-link    := $(LIBS_EVENT) $(LIBS_PB) $(LIBS_WSLAY) $(LIBS_SANDBOX)
LIBS_opampd-confd   := $(LIBS_EVENT) $(LIBS_SANDBOX)
LIBS_opampd-merge   := $(LIBS_EVENT) $(LIBS_YAML) $(LIBS_SANDBOX)
LIBS_opampd-procd   := $(LIBS_EVENT) $(LIBS_SANDBOX)
LIBS_opampctl       := $(LIBS_JSON) $(LIBS_EVENT) $(LIBS_SANDBOX)
LIBS_opamphub       := $(LIBS_EVENT) $(LIBS_SANDBOX)
LIBS_opamphub-front := $(LIBS_EVENT_SSL) $(LIBS_PB) $(LIBS_WSLAY) $(LIBS_SSL) $(LIBS_JSON) $(LIBS_ZLIB) $(LIBS_SANDBOX)
LIBS_opamphub-store := $(LIBS_EVENT_SSL) $(LIBS_SQLITE) $(LIBS_SSL) $(LIBS_JSON) $(LIBS_YAML) $(LIBS_SANDBOX)
LIBS_ALL := $(LIBS_SQLITE) $(LIBS_ZLIB) $(LIBS_EVENT_SSL) $(LIBS_PB) $(LIBS_WSLAY) $(LIBS_SSL) $(LIBS_YAML) $(LIBS_JSON) $(LIBS_SANDBOX)

FOLDERS := privsep wire netd confd procd ctl hub
MAINS := $(foreach p,$(PROGRAMS),$(MAIN_$(p)))
SOURCES := $(sort $(wildcard $(addsuffix /*.c,$(FOLDERS))))
$(foreach f,$(FOLDERS),$(eval OBJ_$(f) := $(patsubst %.c,$(O)/%.o,$(filter-out $(MAINS),$(sort $(wildcard $(f)/*.c))))))
GEN_C := $(O)/gen/opamp/v1/opamp.pb-c.c $(O)/gen/opamp/v1/anyvalue.pb-c.c
GEN_H := $(GEN_C:.c=.h)
ARCHIVES := $(foreach f,$(FOLDERS),$(O)/lib$(f).a) $(O)/libproto.a
# netd, confd, procd and ctl never see each other's archives
ARCHIVES_privsep := $(O)/libprivsep.a
ARCHIVES_wire  := $(O)/libwire.a $(O)/libproto.a $(O)/libprivsep.a
ARCHIVES_netd  := $(O)/libnetd.a $(O)/libwire.a $(O)/libproto.a $(O)/libprivsep.a
ARCHIVES_confd := $(O)/libconfd.a $(O)/libprivsep.a
ARCHIVES_procd := $(O)/libprocd.a $(O)/libprivsep.a
ARCHIVES_ctl   := $(O)/libctl.a $(O)/libprivsep.a
ARCHIVES_hub   := $(O)/libhub.a $(O)/libwire.a $(O)/libproto.a $(O)/libprivsep.a

.PHONY: all
all: $(addprefix $(O)/,$(PROGRAMS))

define program_rule
$(O)/$(1): $(O)/$(MAIN_$(1):.c=.o) $(ARCHIVES_$(patsubst %/,%,$(dir $(MAIN_$(1)))))
	$$(call say,LINK,$$@)
	$$(CC) $$(CFLAGS) $$(HARDEN_LD) $$(LDFLAGS) -o $$@ $$< $(ARCHIVES_$(patsubst %/,%,$(dir $(MAIN_$(1))))) $$(LIBS_$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

define archive_rule
$(O)/lib$(1).a: $(OBJ_$(1))
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
# the page's files and the API's document are part of the hub's store
OBJ_hub += $(O)/gen/hub_static.o
HUB_FILES := $(sort $(wildcard hub/static/*))
$(O)/gen/hub_static.c: hub/embed.py hub/openapi.json $(HUB_FILES)
	@mkdir -p $(@D)
	$(PYTHON) hub/embed.py hub/openapi.json $(HUB_FILES) >$@
$(O)/gen/hub_static.o: $(O)/gen/hub_static.c hub/static.h
	$(call say,CC,$@)
	$(CC) $(CPPFLAGS_OURS) $(CFLAGS_OURS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(foreach f,$(FOLDERS),$(eval $(call archive_rule,$(f))))
$(O)/libproto.a: $(GEN_C:.c=.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(CC) $(CPPFLAGS_OURS) $(CFLAGS_OURS) $(if $(filter $(FAST_FILES),$<),-O2) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# what has the paths compiled in is compiled anew when they change: make, then make install PREFIX=/usr
.PHONY: force
$(O)/gen/paths: force
	@mkdir -p $(@D)
	@echo '$(LIBEXECDIR) $(SYSCONFDIR)' | cmp -s - $@ || echo '$(LIBEXECDIR) $(SYSCONFDIR)' >$@
$(O)/privsep/opampd.o $(O)/privsep/parent_files.o $(O)/hub/parent_start.o: $(O)/gen/paths

# generated protobuf code: our warnings do not judge it
$(O)/gen/%.pb-c.o: $(O)/gen/%.pb-c.c
	$(call say,CC,$@)
	$(CC) $(CPPFLAGS_OURS) $(CFLAGS_OURS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(GEN_C) $(GEN_H) &: proto/opamp/v1/opamp.proto proto/opamp/v1/anyvalue.proto
	@mkdir -p $(O)/gen
	$(PROTOC_C) -Iproto --c_out=$(O)/gen opamp/v1/opamp.proto opamp/v1/anyvalue.proto

.PHONY: objects
objects: $(SOURCES:%.c=$(O)/%.o)

DEPS := $(SOURCES:%.c=$(O)/%.d)
-include $(DEPS)

include tests/tests.mk

# ---- documents: what the code knows is printed from its own tables (doc/gen/tables.c)
MAN_PAGES := opampd.8 opampctl.8 opamphub.8 opampd.yaml.5 opampd-sandbox.7
MANS := $(addprefix $(O)/doc/,$(MAN_PAGES))
.PHONY: doc doc-lint
doc: $(MANS) $(O)/doc/messages.md $(O)/doc/security.md $(O)/doc/opampctl.bash
$(O)/doc/tables: $(O)/doc/gen/tables.o $(O)/doc/gen/security.o $(O)/libhub.a $(O)/libprivsep.a
	$(CC) $(CFLAGS) $(HARDEN_LD) $(LDFLAGS) -o $@ $^ $(LIBS_EVENT) $(LIBS_SANDBOX)
$(O)/doc/%: doc/%.in $(O)/doc/tables
	$(O)/doc/tables fill $< >$@
$(O)/doc/%.8: doc/%.8
	@mkdir -p $(@D)
	cp $< $@
$(O)/doc/messages.md: $(O)/doc/tables
	$(O)/doc/tables messages >$@
$(O)/doc/opampctl.bash: $(O)/opampctl
	@mkdir -p $(@D)
	$(O)/opampctl completion >$@
doc-lint: $(MANS)
	mandoc -T lint -W warning $(MANS) doc/opampd_selinux.8
-include $(O)/doc/gen/tables.d $(O)/doc/gen/security.d

# ---- SELinux: Debian's selinux-policy-dev and Fedora's selinux-policy-devel have the same Makefile at the same place.
# The labels are those of PREFIX=/usr.
SELINUX_DEVEL ?= /usr/share/selinux/devel/Makefile
SELINUX_FILES := $(addprefix selinux/opampd,.te .fc .if _internal.if)
.PHONY: selinux check-selinux deps-selinux
deps-selinux:
	@tests/lib/need-packages.sh $(PACKAGES_SELINUX)
selinux: $(O)/selinux/opampd.pp
$(O)/selinux/opampd.pp: $(SELINUX_FILES)
	$(call say,POLICY,$@)
	if [ -e $(dir $(SELINUX_DEVEL))include/contrib/opampd.if ]; then \
		echo "$@: opampd-selinux is installed here, and its interfaces would be there twice: remove it first" >&2; \
		exit 1; \
	fi
	mkdir -p $(@D)
	cp selinux/opampd.te selinux/opampd.fc $(@D)
	cat selinux/opampd.if selinux/opampd_internal.if >$(@D)/opampd.if
	$(MAKE) -s -C $(@D) -f $(SELINUX_DEVEL) opampd.pp
# what the policy must not allow, and its style
check-selinux: deps-selinux
	$(MAKE) selinux
	O=$(O) tests/selinux/lint.sh
	O=$(O) tests/selinux/queries.sh
# ---- AppArmor: what the profiles must not allow, without a kernel that has it
.PHONY: check-apparmor
check-apparmor:
	@tests/lib/need-packages.sh $(PACKAGES_APPARMOR)
	@PROGRAMS='$(HELPERS)' tests/apparmor/parse.sh

# ---- installing: no user is made, nothing is started; packages in dist/ do that
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
INSTALL ?= install
HELPERS := $(filter opampd-% opamphub-%,$(PROGRAMS))
PAPERS  := README.md LICENSE SECURITY.md doc/threat-model.md doc/review.md $(O)/doc/messages.md $(O)/doc/security.md
EXAMPLES := dist/opampd.yaml.example $(sort $(wildcard dist/examples/*.yaml))
.PHONY: install uninstall
install: all doc
	$(INSTALL) -d -m 755 $(addprefix $(DESTDIR),$(SBINDIR) $(BINDIR) $(LIBEXECDIR) $(COMPLETIONDIR) \
		$(MANDIR)/man5 $(MANDIR)/man7 $(MANDIR)/man8 $(DOCDIR)/examples $(SYSCONFDIR)/opampd)
	$(INSTALL) -m 755 $(O)/opampd $(O)/opamphub $(DESTDIR)$(SBINDIR)
	$(INSTALL) -m 755 $(O)/opampctl $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(addprefix $(O)/,$(HELPERS)) $(DESTDIR)$(LIBEXECDIR)
	$(foreach m,$(MAN_PAGES),$(INSTALL) -m 644 $(O)/doc/$(m) $(DESTDIR)$(MANDIR)/man$(lastword $(subst ., ,$(m))) &&) true
	$(INSTALL) -m 644 $(O)/doc/opampctl.bash $(DESTDIR)$(COMPLETIONDIR)/opampctl
	$(INSTALL) -m 644 $(PAPERS) $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 644 $(EXAMPLES) $(DESTDIR)$(DOCDIR)/examples
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/opampd $(DESTDIR)$(SBINDIR)/opamphub $(DESTDIR)$(BINDIR)/opampctl $(DESTDIR)$(COMPLETIONDIR)/opampctl
	rm -f $(foreach m,$(MAN_PAGES),$(DESTDIR)$(MANDIR)/man$(lastword $(subst ., ,$(m)))/$(m))
	rm -f $(addprefix $(DESTDIR)$(LIBEXECDIR)/,$(filter opampd-% opamphub-%,$(ALL_PROGRAMS)))
	rm -f $(addprefix $(DESTDIR)$(DOCDIR)/,$(notdir $(PAPERS)) $(addprefix examples/,$(notdir $(EXAMPLES))))
	-rmdir --ignore-fail-on-non-empty $(addprefix $(DESTDIR),$(LIBEXECDIR) $(DOCDIR)/examples $(DOCDIR) $(SYSCONFDIR)/opampd) 2>/dev/null

# for packages, and for hosts with systemd: nothing is enabled; systemd-sysusers and systemd-tmpfiles do the rest
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
UNITS := $(sort $(wildcard dist/systemd/*.service))
SYSUSERS := $(sort $(wildcard dist/sysusers.d/*.conf))
TMPFILES := $(sort $(wildcard dist/tmpfiles.d/*.conf))
.PHONY: install-systemd uninstall-systemd
install-systemd: install
	$(INSTALL) -d -m 755 $(addprefix $(DESTDIR),$(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR) $(SYSCONFDIR)/opamphub)
	$(foreach u,$(UNITS),sed 's|=/usr/sbin/|=$(SBINDIR)/|; s|/etc/opamp|$(SYSCONFDIR)/opamp|g' $(u) >$(DESTDIR)$(UNITDIR)/$(notdir $(u)) &&) true
	chmod 644 $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS)))
	$(INSTALL) -m 644 $(SYSUSERS) $(DESTDIR)$(SYSUSERSDIR)
	$(INSTALL) -m 644 $(TMPFILES) $(DESTDIR)$(TMPFILESDIR)
	$(INSTALL) -m 644 dist/opamphub.conf.example $(DESTDIR)$(DOCDIR)/examples
	sed 's|=/usr/sbin/|=$(SBINDIR)/|' dist/opampd-upgrade >$(DESTDIR)$(LIBEXECDIR)/opampd-upgrade
	chmod 755 $(DESTDIR)$(LIBEXECDIR)/opampd-upgrade
uninstall-systemd: uninstall
	rm -f $(DESTDIR)$(LIBEXECDIR)/opampd-upgrade
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(notdir $(UNITS))) $(addprefix $(DESTDIR)$(SYSUSERSDIR)/,$(notdir $(SYSUSERS)))
	rm -f $(addprefix $(DESTDIR)$(TMPFILESDIR)/,$(notdir $(TMPFILES))) $(DESTDIR)$(DOCDIR)/examples/opamphub.conf.example
	-rmdir --ignore-fail-on-non-empty $(addprefix $(DESTDIR),$(LIBEXECDIR) $(DOCDIR)/examples $(DOCDIR) $(SYSCONFDIR)/opamphub) 2>/dev/null

# the module, its interfaces for other modules, and its man page; the package loads it (debian/, dist/rpm)
SELINUXDIR ?= $(PREFIX)/share/selinux/packages
SELINUXIFDIR ?= $(PREFIX)/share/selinux/devel/include/contrib
.PHONY: install-selinux uninstall-selinux
install-selinux: $(O)/selinux/opampd.pp
	$(INSTALL) -d -m 755 $(addprefix $(DESTDIR),$(SELINUXDIR) $(SELINUXIFDIR) $(MANDIR)/man8)
	bzip2 -9 -c $< >$(DESTDIR)$(SELINUXDIR)/opampd.pp.bz2
	chmod 644 $(DESTDIR)$(SELINUXDIR)/opampd.pp.bz2
	$(INSTALL) -m 644 selinux/opampd.if $(DESTDIR)$(SELINUXIFDIR)
	$(INSTALL) -m 644 doc/opampd_selinux.8 $(DESTDIR)$(MANDIR)/man8
uninstall-selinux:
	rm -f $(DESTDIR)$(SELINUXDIR)/opampd.pp.bz2 $(DESTDIR)$(SELINUXIFDIR)/opampd.if $(DESTDIR)$(MANDIR)/man8/opampd_selinux.8

# ---- Debian packages: in a copy of what is committed, with the distribution's flags and its own tests
DEB := $(O)/deb
DEB_OPTIONS ?= parallel=$(shell nproc)
.PHONY: deb deps-deb
deps-deb: deps
	@tests/lib/need-packages.sh $(PACKAGES_DEB)
deb: deps-deb
	@dist/build-deb.sh $(abspath $(DEB)) '$(DEB_OPTIONS)'
.PHONY: check-deb
check-deb: deb
	@tests/lib/need-packages.sh $(PACKAGES_CHECK_DEB)
	@dist/check-deb.sh $(abspath $(DEB))
# installed, at work, removed and purged in a minimal Debian of their own; CHECK_INSTALL=policy: with a policy, too
.PHONY: check-deb-install
check-deb-install:
	@[ "$$(cat $(DEB)/commit 2>/dev/null)" = "$$(git rev-parse HEAD)" ] || $(MAKE) deb
	@tests/lib/need-packages.sh $(PACKAGES_CHECK_DEB)
	@dist/check-install.sh $(abspath $(DEB)) $(CHECK_INSTALL)

# ---- RPM packages: the same, with dist/rpm/opampd.spec, as far as Debian's rpm goes
RPM := $(O)/rpm
.PHONY: rpm check-rpm
rpm: deps
	@tests/lib/need-packages.sh $(PACKAGES_RPM)
	@dist/build-rpm.sh $(abspath $(RPM))
check-rpm: rpm
	@tests/lib/need-packages.sh $(PACKAGES_CHECK_RPM)
	@[ "$$(cat $(DEB)/commit 2>/dev/null)" = "$$(git rev-parse HEAD)" ] || $(MAKE) deb
	@dist/check-rpm.sh $(abspath $(RPM)) $(abspath $(DEB))

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

# ---- packages, by name, from the system's own registry
.PHONY: deps deps-check deps-proof deps-selinux
deps:
	@tests/lib/need-packages.sh $(PACKAGES_BUILD)
deps-vm: deps
	@tests/lib/need-packages.sh $(PACKAGES_VM)
deps-proof: deps-check
	@tests/lib/need-packages.sh $(PACKAGES_PROOF)
deps-check: deps
	@tests/lib/need-packages.sh $(PACKAGES_CHECK)

# ---- the users that opampd needs when root starts it
USERS := _opampd_net _opampd_dns _opampd_link _opampd_conf _opampd_merge _opampd_proc _opampd_agent _opamphub
.PHONY: users
users:
	@tests/lib/need-users.sh $(USERS)

.PHONY: clean
clean:
	rm -rf $(O)
